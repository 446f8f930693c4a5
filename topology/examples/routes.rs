//! How long a fabric takes to build, and paths over it: `routes NAME N_PATHS POLICY`.
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a measurement prints and reads the clock")]

use std::time::Instant;

use ds_topology::fabric::{Fabric, built_in};
use ds_topology::routing::{FabricRoutes, Policy};
use ds_topology::{EndpointId, Routes};

fn main() {
    let mut args = std::env::args().skip(1);
    let name = args.next().unwrap_or_else(|| "h800-mpft-2048".to_owned());
    let n_paths: u64 = args.next().and_then(|n| n.parse().ok()).unwrap_or(4_000_000);
    let begin = Instant::now();
    let fabric = Fabric::parse(built_in(&name).expect("a built-in fabric")).expect("a fabric");
    let (n, n_links) = (u64::from(fabric.n_gpus()), fabric.network().len());
    println!("{name}: {n} GPUs, {n_links} links, built in {:.3} s", begin.elapsed().as_secs_f64());
    let fabric = std::sync::Arc::new(fabric);
    let asked: Vec<String> = args.collect();
    let all = ["static", "ecmp:1", "adaptive"].map(str::to_owned).to_vec();
    for policy in if asked.is_empty() { all } else { asked } {
        let policy: Policy = policy.parse().expect("a policy");
        let mut routes = FabricRoutes::new(fabric.clone(), policy);
        let (begin, mut hops) = (Instant::now(), 0);
        for i in 0..n_paths {
            let (from, to) = (i % n, (i * 7919 + i / n) % n);
            let found =
                routes.paths(EndpointId(from as u32), EndpointId(to as u32), i, &mut |_, path| hops += path.len());
            found.expect("a path");
        }
        println!("{policy}: {n_paths} paths, {hops} hops, {:.3} s", begin.elapsed().as_secs_f64());
    }
}
