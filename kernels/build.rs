//! Compiles the C++ shim against the LibTorch that `./setup` has put in place.

use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    println!("cargo:rerun-if-changed=cpp");
    println!("cargo:rerun-if-changed=cuda");
    let torch = PathBuf::from(std::env::var_os("LIBTORCH").expect("LIBTORCH is not set: run ./setup first"));
    loops("BASE", &[]);
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64") {
        loops("AVX2", &["-mavx2", "-mfma"]);
        loops("AVX512", &["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"]);
    }
    emulated();
    cpp()
        .opt_level(2)
        // For LibTorch's own loops over threads, which are inline; its pool is that of the same OpenMP library.
        .flag("-fopenmp")
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        .include(torch.join("include"))
        .include(torch.join("include/torch/csrc/api/include"))
        .file("cpp/shim.cpp")
        .file("cpp/fused.cpp")
        .file("cpp/e4m3.cpp")
        .compile("ds_shim");
    println!("cargo:rustc-link-search=native={}", torch.join("lib").display());
    println!("cargo:rustc-link-lib=torch_cpu");
    println!("cargo:rustc-link-lib=c10");
    println!("cargo:rustc-link-lib=gomp");
}

fn cpp() -> cc::Build {
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").warnings(false).debug(false);
    build
}

/// The loops for one level of instructions; which level runs is decided by the processor at hand.
fn loops(level: &str, flags: &[&str]) {
    let mut build = cpp();
    build
        .opt_level(3)
        .flag("-fopenmp-simd")
        .flag("-fno-math-errno")
        .flag("-fno-trapping-math")
        .define("LEVEL", level)
        .define("E4M3_LEVEL", format!("E4M3_{level}").as_str())
        .file("cpp/loops.cpp")
        .file("cpp/e4m3_loops.cpp");
    flags.iter().for_each(|flag| {
        build.flag(flag);
    });
    build.compile(&format!("ds_loops_{}", level.to_lowercase()));
}

/// The CUDA kernels as functions of the CPU, which only tests link. No product and sum may be fused into one rounding that
/// the sources do not ask for.
fn emulated() {
    cpp().opt_level(1).flag("-ffp-contract=off").file("cpp/emulated.cpp").compile("ds_emulated");
}
