//! Words for departments, categories, styles and single items.
//!
//! Real words for small trees; a tree larger than the lists goes on with pronounceable made-up
//! words, one for each number. No word stands twice in the lists.

/// A department with its categories and styles.
struct Department {
    name: &'static str,
    categories: [&'static str; 8],
    styles: [&'static str; 8],
}

#[rustfmt::skip]
const DEPARTMENTS: [Department; 8] = [
    Department {
        name: "kitchen",
        categories: ["kettle", "pan", "teapot", "grinder", "toaster", "colander", "whisk", "platter"],
        styles: ["rustic", "enamel", "copper", "bistro", "farmhouse", "ceramic", "steel", "retro"],
    },
    Department {
        name: "garden",
        categories: ["trellis", "planter", "lantern", "hose", "bench", "trowel", "birdbath", "hammock"],
        styles: ["cottage", "bamboo", "terracotta", "woodland", "mediterranean", "wicker", "alpine", "desert"],
    },
    Department {
        name: "music",
        categories: ["guitar", "violin", "ukulele", "drum", "flute", "keyboard", "trumpet", "harp"],
        styles: ["jazz", "folk", "baroque", "concert", "blues", "studio", "marching", "flamenco"],
    },
    Department {
        name: "office",
        categories: ["desk", "lamp", "notebook", "stapler", "chair", "organizer", "pen", "shelf"],
        styles: ["executive", "minimalist", "ergonomic", "walnut", "leather", "industrial", "pastel", "glass"],
    },
    Department {
        name: "travel",
        categories: ["suitcase", "backpack", "pillow", "wallet", "tent", "flask", "umbrella", "adapter"],
        styles: ["expedition", "business", "canvas", "ultralight", "safari", "nautical", "weekend", "polar"],
    },
    Department {
        name: "pet",
        categories: ["leash", "bowl", "bed", "carrier", "collar", "brush", "puzzle", "blanket"],
        styles: ["puppy", "feline", "plaid", "orthopedic", "reflective", "fleece", "chewproof", "tweed"],
    },
    Department {
        name: "bath",
        categories: ["towel", "mirror", "soap", "robe", "candle", "sponge", "basket", "faucet"],
        styles: ["spa", "lavender", "marble", "coastal", "eucalyptus", "hotel", "linen", "charcoal"],
    },
    Department {
        name: "workshop",
        categories: ["drill", "saw", "hammer", "clamp", "wrench", "sander", "chisel", "vise"],
        styles: ["cordless", "heirloom", "magnetic", "precision", "carpenter", "titanium", "garage", "vintage"],
    },
];

#[rustfmt::skip]
const ADJECTIVES: [&str; 64] = [
    "amber", "bold", "bright", "brisk", "calm", "classic", "clever", "compact",
    "cosy", "crimson", "dapper", "deluxe", "durable", "elegant", "emerald", "fancy",
    "folding", "gentle", "golden", "graceful", "grand", "handy", "honest", "ivory",
    "jolly", "keen", "light", "little", "lively", "lucky", "mellow", "mighty",
    "modest", "neat", "nimble", "noble", "olive", "original", "patient", "plain",
    "pocket", "polished", "proud", "quiet", "rapid", "robust", "royal", "sapphire",
    "silent", "simple", "sleek", "smart", "smooth", "soft", "solid", "sturdy",
    "sunny", "swift", "tidy", "trusty", "velvet", "warm", "witty", "zesty",
];

/// Number of adjectives before made-up ones begin.
pub(crate) const N_ADJECTIVES: usize = ADJECTIVES.len();

/// Name of a department.
pub(crate) fn department(d: usize) -> String {
    DEPARTMENTS.get(d).map_or_else(|| made_up(0, d, 0), |x| x.name.to_string())
}

/// Name of category `c` of department `d`.
pub(crate) fn category(d: usize, c: usize) -> String {
    DEPARTMENTS
        .get(d)
        .and_then(|x| x.categories.get(c))
        .map_or_else(|| made_up(1, d, c), |w| w.to_string())
}

/// Name of style `s` in department `d`; all categories of a department share its styles.
pub(crate) fn style(d: usize, s: usize) -> String {
    DEPARTMENTS
        .get(d)
        .and_then(|x| x.styles.get(s))
        .map_or_else(|| made_up(2, d, s), |w| w.to_string())
}

/// Adjective number `a`.
pub(crate) fn adjective(a: usize) -> String {
    ADJECTIVES.get(a).map_or_else(|| made_up(3, 0, a), |w| w.to_string())
}

/// One word for each (kind, department, number): digits in base 64 as syllables, at least three.
/// Numbers and departments are below 1024, so that the parts never overlap.
fn made_up(kind: usize, department: usize, number: usize) -> String {
    const CONSONANTS: [&str; 16] =
        ["b", "d", "f", "g", "h", "j", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z"];
    const VOWELS: [&str; 4] = ["a", "e", "i", "o"];
    let mut rest = (kind * 1024 + department) * 1024 + number;
    let mut word = String::new();
    for syllable in 0.. {
        if rest == 0 && syllable >= 3 {
            break;
        }
        word.push_str(CONSONANTS[rest % 16]);
        word.push_str(VOWELS[rest / 16 % 4]);
        rest /= 64;
    }
    word
}

/// With a capital first letter.
pub(crate) fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .map_or(String::new(), |c| c.to_uppercase().collect::<String>() + letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_word_has_one_meaning() {
        let mut seen = BTreeSet::new();
        for d in 0..12 {
            assert!(seen.insert(department(d)));
            for i in 0..20 {
                assert!(seen.insert(category(d, i)), "category {d} {i} {}", category(d, i));
                assert!(seen.insert(style(d, i)), "style {d} {i} {}", style(d, i));
            }
        }
        for a in 0..N_ADJECTIVES + 20 {
            assert!(seen.insert(adjective(a)), "{}", adjective(a));
        }
        assert!(seen.iter().all(|w| w.chars().all(|c| c.is_ascii_lowercase())));
        assert_eq!(capital("kettle"), "Kettle");
    }
}
