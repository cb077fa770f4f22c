//! Single-threaded kernels over flat f32 buffers.
//!
//! Callers run threads over micro-batches, never inside a kernel. Hot loops are written once and
//! compiled three times: plain, AVX2 with FMA, AVX-512; the path is chosen at run time. Matrix
//! products go through the `gemm` crate, which chooses for itself.

/// Defines a function whose body is compiled for AVX-512, AVX2 and the baseline, and dispatched at
/// run time. The body must be safe code that the compiler can vectorise.
macro_rules! simd {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn plain($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                fn v4($($arg: $ty),*) $(-> $ret)? { plain($($arg),*) }
                #[target_feature(enable = "avx2,fma")]
                fn v3($($arg: $ty),*) $(-> $ret)? { plain($($arg),*) }
                match $crate::kernels::isa() {
                    // SAFETY: `isa` found every feature that `v4` enables on this processor.
                    $crate::kernels::Isa::V4 => return unsafe { v4($($arg),*) },
                    // SAFETY: `isa` found every feature that `v3` enables on this processor.
                    $crate::kernels::Isa::V3 => return unsafe { v3($($arg),*) },
                    $crate::kernels::Isa::Plain => {}
                }
            }
            plain($($arg),*)
        }
    };
}

pub(crate) use simd;

pub mod activation;
pub mod attention;
pub mod cross_entropy;
pub mod decoding;
pub mod dropout;
pub mod embedding;
pub mod gate;
pub mod gelu;
pub mod gemm;
pub mod math;
pub mod norm;
pub mod post_norm;
pub mod screen;
pub mod silu_attention;
pub mod sparse;
pub mod squared_error;

/// Instruction set that kernels use on this processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// AVX-512 F, BW, DQ and VL.
    V4,
    /// AVX2 and FMA.
    V3,
    /// Whatever the build targets.
    Plain,
}

/// The best instruction set that this processor has; looked up once.
pub fn isa() -> Isa {
    static FOUND: std::sync::OnceLock<Isa> = std::sync::OnceLock::new();
    *FOUND.get_or_init(|| {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        {
            let v3 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let v4 = v3
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            if v4 {
                return Isa::V4;
            }
            if v3 {
                return Isa::V3;
            }
        }
        Isa::Plain
    })
}
