//! Where the files of a model are: a local folder, the local Hugging Face cache, or the hub.
//!
//! The cache is `$HF_HUB_CACHE`, else `$HF_HOME/hub`, else `$XDG_CACHE_HOME/huggingface/hub`, else
//! `~/.cache/huggingface/hub`; a model lies in `models--org--name/snapshots/<commit>/` and
//! `refs/<revision>` names the commit. Files are fetched only with the cargo feature `hub` and
//! only if neither `HF_HUB_OFFLINE` nor `TRANSFORMERS_OFFLINE` is set; otherwise nothing here
//! opens a socket.

use crate::key;
use sidereal_core::{Error, Result};
use std::path::{Component, Path, PathBuf};

/// What the environment says about the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// Folder of the cache, if any variable or home directory names one.
    pub cache: Option<PathBuf>,
    /// Whether fetching is forbidden.
    pub offline: bool,
    /// `HF_ENDPOINT`: a mirror to fetch from.
    pub endpoint: Option<String>,
    /// `HF_TOKEN`: who asks.
    pub token: Option<String>,
}

impl Environment {
    /// Reads the process environment.
    pub fn from_process() -> Self {
        Environment::from_lookup(|name| std::env::var(name).ok())
    }

    /// Reads variables through `lookup`; an empty value counts as none.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let get = |name: &str| lookup(name).filter(|v| !v.is_empty());
        let home = get("HOME").or_else(|| get("USERPROFILE")).map(PathBuf::from);
        let expand = |text: String| match (text.strip_prefix("~/"), &home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => PathBuf::from(&text),
        };
        let cache = get("HF_HUB_CACHE")
            .map(expand)
            .or_else(|| get("HF_HOME").map(|d| expand(d).join("hub")))
            .or_else(|| get("XDG_CACHE_HOME").map(|d| expand(d).join("huggingface/hub")))
            .or_else(|| home.as_ref().map(|h| h.join(".cache/huggingface/hub")));
        let set = |name: &str| {
            get(name).is_some_and(|v| {
                ["1", "on", "yes", "true"].contains(&v.to_ascii_lowercase().as_str())
            })
        };
        Environment {
            cache,
            offline: set("HF_HUB_OFFLINE") || set("TRANSFORMERS_OFFLINE"),
            endpoint: get("HF_ENDPOINT"),
            token: get("HF_TOKEN"),
        }
    }
}

/// The files of one model.
#[derive(Debug)]
pub struct ModelFiles {
    place: Place,
}

#[derive(Debug)]
enum Place {
    Folder(PathBuf),
    Hub(Box<HubModel>),
}

#[derive(Debug)]
struct HubModel {
    id: String,
    revision: String,
    /// `models--org--name` in the cache.
    folder: PathBuf,
    /// Why missing files are not fetched; `None` if they are.
    unfetched: Option<&'static str>,
    #[cfg(feature = "hub")]
    remote: Option<remote::Remote>,
}

impl ModelFiles {
    /// Finds `model`: a folder if there is one of that path, else a hub id `org/name` at
    /// `revision` (a branch, tag or commit). A name without `/` is also looked for under
    /// `sentence-transformers/`.
    pub fn locate(model: &str, revision: &str, env: &Environment) -> Result<Self> {
        if Path::new(model).is_dir() {
            return Ok(ModelFiles { place: Place::Folder(model.into()) });
        }
        let parts: Vec<&str> = model.split('/').collect();
        if parts.len() > 2 || !parts.iter().all(|p| is_plain(p)) {
            return Err(Error::config(
                key("model"),
                format!("`{model}` is neither a folder nor a hub id such as `org/name`"),
            ));
        }
        if !revision.split('/').all(is_plain) {
            return Err(Error::config(
                key("revision"),
                format!("`{revision}` is no branch, tag or commit; as in `main`"),
            ));
        }
        let Some(cache) = &env.cache else {
            return Err(Error::config(
                key("model"),
                format!(
                    "`{model}` is no folder, and there is no cache to look in: set HF_HOME or HOME"
                ),
            ));
        };
        let folder = |id: &str| cache.join(format!("models--{}", id.replace('/', "--")));
        let mut id = model.to_string();
        if parts.len() == 1 && !folder(&id).is_dir() {
            id = format!("sentence-transformers/{model}");
        }
        let unfetched = if env.offline {
            Some("HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE forbids fetching it")
        } else if cfg!(feature = "hub") {
            None
        } else {
            Some("this program was built without the feature `hub`, so it fetches nothing")
        };
        Ok(ModelFiles {
            place: Place::Hub(Box::new(HubModel {
                folder: folder(&id),
                #[cfg(feature = "hub")]
                remote: unfetched
                    .is_none()
                    .then(|| remote::Remote::new(cache, &id, revision, env))
                    .transpose()?,
                id,
                revision: revision.into(),
                unfetched,
            })),
        })
    }

    /// The file `name` (a relative path), if the model has it.
    pub fn find(&self, name: &str) -> Result<Option<PathBuf>> {
        self.check_name(name)?;
        match &self.place {
            Place::Folder(dir) => Ok(Some(dir.join(name)).filter(|p| p.is_file())),
            Place::Hub(hub) => hub.find(name),
        }
    }

    /// The file `name`; the error says which file is missing and how to get it.
    pub fn need(&self, name: &str) -> Result<PathBuf> {
        if let Some(path) = self.find(name)? {
            return Ok(path);
        }
        match &self.place {
            Place::Folder(dir) => {
                Err(Error::data(dir.join(name), "the model folder lacks this file"))
            }
            Place::Hub(hub) => Err(hub.missing(name)),
        }
    }

    /// Where `name` would lie, for messages about files that are missing or wrong.
    pub fn place_of(&self, name: &str) -> PathBuf {
        match &self.place {
            Place::Folder(dir) => dir.join(name),
            Place::Hub(hub) => hub.snapshot().unwrap_or_else(|| hub.folder.clone()).join(name),
        }
    }

    /// Paths inside a model come from its own files: they must not leave it.
    fn check_name(&self, name: &str) -> Result<()> {
        let inside = Path::new(name).components().all(|c| matches!(c, Component::Normal(_)));
        if inside && !name.is_empty() {
            return Ok(());
        }
        Err(Error::data(
            self.place_of("modules.json"),
            format!("the model names a file outside its folder: `{name}`"),
        ))
    }
}

/// Letters, digits, `.`, `_` and `-`, and neither `.` nor `..` nor a leading dot.
fn is_plain(part: &str) -> bool {
    !part.is_empty()
        && !part.starts_with('.')
        && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

impl HubModel {
    /// The folder of the revision in the cache, if it is known there.
    fn snapshot(&self) -> Option<PathBuf> {
        let named = std::fs::read_to_string(self.folder.join("refs").join(&self.revision)).ok();
        let commit = named.as_deref().map_or(self.revision.as_str(), str::trim);
        let dir = self.folder.join("snapshots").join(commit);
        (is_plain(commit) && dir.is_dir()).then_some(dir)
    }

    fn find(&self, name: &str) -> Result<Option<PathBuf>> {
        let cached = self.snapshot().map(|dir| dir.join(name)).filter(|p| p.is_file());
        #[cfg(feature = "hub")]
        if let (None, Some(remote)) = (&cached, &self.remote) {
            // A cached model stays usable without a network: a failed look-up counts as "no".
            let known = self.snapshot().is_some();
            return match remote.fetch(name) {
                Err(_) if known => Ok(None),
                other => other,
            };
        }
        Ok(cached)
    }

    fn missing(&self, name: &str) -> Error {
        let revision = match self.revision.as_str() {
            "main" => String::new(),
            other => format!(" --revision {other}"),
        };
        let path = self.snapshot().unwrap_or_else(|| self.folder.clone()).join(name);
        let reason = self.unfetched.unwrap_or("the hub does not offer it or cannot be reached");
        Error::data(
            path,
            format!(
                "`{name}` of `{}` is missing: there is no such folder and no such file in the \
                 cache, and {reason}. Fetch it with `hf download {}{revision}`",
                self.id, self.id
            ),
        )
    }
}

#[cfg(feature = "hub")]
mod remote {
    //! Fetching through hf-hub; the only code here that opens a socket.

    use super::Environment;
    use hf_hub::api::sync::{ApiBuilder, ApiRepo};
    use hf_hub::{Cache, Repo, RepoType};
    use sidereal_core::{Error, Result};
    use std::path::{Path, PathBuf};
    use std::sync::OnceLock;

    pub(super) struct Remote {
        repo: ApiRepo,
        id: String,
        names: OnceLock<Vec<String>>,
    }

    impl std::fmt::Debug for Remote {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "Remote({})", self.id)
        }
    }

    impl Remote {
        pub(super) fn new(
            cache: &Path,
            id: &str,
            revision: &str,
            env: &Environment,
        ) -> Result<Self> {
            let mut builder = ApiBuilder::from_cache(Cache::new(cache.into())).with_progress(false);
            if let Some(endpoint) = &env.endpoint {
                builder = builder.with_endpoint(endpoint.trim_end_matches('/').into());
            }
            if let Some(token) = &env.token {
                builder = builder.with_token(Some(token.clone()));
            }
            let api = builder.build().map_err(|e| Error::other("preparing the hub client", e))?;
            let repo = Repo::with_revision(id.into(), RepoType::Model, revision.into());
            Ok(Remote { repo: api.repo(repo), id: id.into(), names: OnceLock::new() })
        }

        /// Downloads `name` into the cache; `None` if the model has no such file.
        pub(super) fn fetch(&self, name: &str) -> Result<Option<PathBuf>> {
            let failed = |e| Error::other(format!("fetching `{name}` of `{}`", self.id), e);
            let names = match self.names.get() {
                Some(names) => names,
                None => {
                    let info = self.repo.info().map_err(failed)?;
                    let names = info.siblings.into_iter().map(|s| s.rfilename).collect();
                    self.names.get_or_init(|| names)
                }
            };
            if !names.iter().any(|n| n == name) {
                return Ok(None);
            }
            self.repo.get(name).map(Some).map_err(failed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        Environment::from_lookup(|name| {
            pairs.iter().find(|(k, _)| *k == name).map(|(_, v)| v.to_string())
        })
    }

    #[test]
    fn the_cache_is_found_in_order() {
        let mut pairs = vec![("HOME", "/h")];
        let cache = |p: &[(&str, &str)]| environment(p).cache.unwrap();
        assert_eq!(cache(&pairs), Path::new("/h/.cache/huggingface/hub"));
        pairs.push(("XDG_CACHE_HOME", "/x"));
        assert_eq!(cache(&pairs), Path::new("/x/huggingface/hub"));
        pairs.push(("HF_HOME", "~/hf"));
        assert_eq!(cache(&pairs), Path::new("/h/hf/hub"));
        pairs.push(("HF_HUB_CACHE", "/c"));
        assert_eq!(cache(&pairs), Path::new("/c"));
        assert_eq!(environment(&[]).cache, None);
    }

    #[test]
    fn offline_variables_count_when_true() {
        assert!(environment(&[("HF_HUB_OFFLINE", "1")]).offline);
        assert!(environment(&[("TRANSFORMERS_OFFLINE", "YES")]).offline);
        assert!(!environment(&[("HF_HUB_OFFLINE", "0")]).offline);
        assert!(!environment(&[("HF_HUB_OFFLINE", "")]).offline);
    }

    #[test]
    fn offline_reads_the_cache_and_names_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let model = dir.path().join("models--org--tiny");
        let snapshot = model.join("snapshots/0a1b");
        fs::create_dir_all(&snapshot).unwrap();
        fs::create_dir_all(model.join("refs/pr")).unwrap();
        fs::write(model.join("refs/main"), "0a1b\n").unwrap();
        fs::write(model.join("refs/pr/1"), "0a1b").unwrap();
        fs::write(snapshot.join("config.json"), "{}").unwrap();
        let cache = dir.path().to_str().unwrap();
        let env = environment(&[("HF_HUB_CACHE", cache), ("HF_HUB_OFFLINE", "1")]);
        for revision in ["main", "pr/1", "0a1b"] {
            let files = ModelFiles::locate("org/tiny", revision, &env).unwrap();
            assert_eq!(files.need("config.json").unwrap(), snapshot.join("config.json"));
            assert_eq!(files.find("modules.json").unwrap(), None);
            let err = files.need("tokenizer.json").unwrap_err().to_string();
            assert!(err.contains("snapshots/0a1b/tokenizer.json"), "{err}");
            assert!(err.contains("HF_HUB_OFFLINE"), "{err}");
            assert!(err.contains("hf download org/tiny"), "{err}");
            assert_eq!(err.contains(&format!("--revision {revision}")), revision != "main");
        }
        let other = ModelFiles::locate("bare", "main", &env).unwrap();
        let err = other.need("config.json").unwrap_err().to_string();
        assert!(err.contains("hf download sentence-transformers/bare`"), "{err}");
    }

    #[test]
    fn paths_do_not_leave_the_model() {
        let dir = tempfile::tempdir().unwrap();
        let files =
            ModelFiles::locate(dir.path().to_str().unwrap(), "main", &environment(&[])).unwrap();
        for name in ["../secret", "/etc/passwd", "a/../../b", ""] {
            assert!(files.find(name).unwrap_err().to_string().contains("outside its folder"));
        }
        let env = environment(&[("HOME", "/nowhere"), ("HF_HUB_OFFLINE", "1")]);
        for (model, revision) in
            [("../x", "main"), ("a/b/c", "main"), ("", "main"), ("a/b", "../x")]
        {
            assert!(ModelFiles::locate(model, revision, &env).is_err(), "{model} {revision}");
        }
    }
}
