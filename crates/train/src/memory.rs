//! The most memory this process ever held.

/// Peak resident memory in bytes, where the system tells (Linux).
pub fn peak_memory() -> Option<u64> {
    peak_of(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn peak_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_high_water_mark() {
        assert_eq!(peak_of("Name:\tx\nVmHWM:\t    2048 kB\n"), Some(2 << 20));
        assert_eq!(peak_of("VmHWM: many kB"), None);
        assert_eq!(peak_of(""), None);
        if cfg!(target_os = "linux") {
            assert!(peak_memory().is_some_and(|b| b > 1 << 20));
        }
    }
}
