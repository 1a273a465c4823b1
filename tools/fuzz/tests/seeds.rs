// SPDX-License-Identifier: BSD-2-Clause
//! Every target over its seeds and over seeded mutations of them, without a fuzzer.

use std::path::Path;

/// Mutations of each target.
const MUTATIONS: u32 = 4_000;

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut paths: Vec<_> = files.map(|file| file.expect("readable").path()).collect();
    paths.sort();
    let read = |path| std::fs::read(path).expect("readable");
    paths.into_iter().map(read).collect()
}

/// A small generator: the same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or(0) % bound.max(1)
    }
}

fn mutated(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut data = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(4) {
        let at = random.below(data.len());
        let value = random.below(256) as u8;
        match random.below(5) {
            0 if at < data.len() => data[at] = value,
            1 if at < data.len() => data[at] ^= 1 << random.below(8),
            2 if at < data.len() => drop(data.remove(at)),
            3 => data.insert(at, value),
            _ => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len());
                data.extend_from_slice(&other[from..]);
            }
        }
    }
    data
}

#[test]
fn every_target_keeps_its_promises_over_its_seeds_and_their_mutations() {
    for (name, target) in fuzz::TARGETS {
        let seeds = seeds(name);
        assert!(seeds.len() >= 2, "{name} has seeds");
        for seed in &seeds {
            target(seed);
        }
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        for _ in 0..MUTATIONS {
            let data = mutated(&seeds, &mut random);
            if let Err(panic) = std::panic::catch_unwind(|| target(&data)) {
                eprintln!("{name} failed over {data:?}");
                std::panic::resume_unwind(panic);
            }
        }
    }
}

#[test]
fn seeds_belong_to_a_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for entry in std::fs::read_dir(folder).expect("readable") {
        let name = entry.expect("readable").file_name();
        assert!(fuzz::target(&name.to_string_lossy()).is_some(), "{name:?}");
    }
}
