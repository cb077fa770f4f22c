//! Random streams named by (seed, purpose, index): every random step draws from its own, so the
//! order of work and the number of threads change no result.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// A generator for one purpose, as in `stream(seed, "kmeans-start", level)`.
pub fn stream(seed: u64, purpose: &str, index: u64) -> ChaCha8Rng {
    let mut state = key(seed, purpose, index);
    let mut bytes = [0u8; 32];
    for chunk in bytes.chunks_exact_mut(8) {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        chunk.copy_from_slice(&mix(state).to_le_bytes());
    }
    ChaCha8Rng::from_seed(bytes)
}

/// A 64-bit key for counter-based generators such as dropout.
pub fn key(seed: u64, purpose: &str, index: u64) -> u64 {
    // FNV-1a over the purpose, then two rounds of mixing with seed and index.
    let mut h = 0xcbf2_9ce4_8422_2325u64;
    for b in purpose.bytes() {
        h = (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    mix(mix(h ^ seed.rotate_left(17)).wrapping_add(index.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014): a bijection that mixes all bits.
pub fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    #[test]
    fn streams_differ_by_every_part_of_their_name() {
        let draw = |s, p, i| stream(s, p, i).random::<u64>();
        let base = draw(1, "a", 0);
        assert_eq!(base, draw(1, "a", 0));
        assert_ne!(base, draw(2, "a", 0));
        assert_ne!(base, draw(1, "b", 0));
        assert_ne!(base, draw(1, "a", 1));
    }
}
