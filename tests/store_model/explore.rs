//! Visits every state that can be reached, the nearest first, and gives the shortest way to the
//! first that breaks a property.
//!
//! A state is remembered by 64 bits of its hash and by the move that led to it; the way back is
//! played again from the start. With n states the chance that two of them look alike is n^2 / 2^65
//! (10^-6 for ten million). That every state can come to rest is looked at backwards, over the
//! moves that need no fault.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::mem::{Discriminant, discriminant};
use std::time::{Duration, Instant};

use crate::moves::{self, Move};
use crate::properties;
use crate::scene::{PROPERTIES, Property, Scene};
use crate::state::State;

/// What an exploration found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) states: usize,
    pub(crate) depth: usize,
    /// States in which nothing happens any more.
    pub(crate) ends: usize,
    pub(crate) time: Duration,
    /// The kinds of moves that led somewhere new.
    pub(crate) kinds: HashSet<Discriminant<Move>>,
    pub(crate) fault: Option<Fault>,
}

#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) property: Property,
    pub(crate) path: Vec<Move>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Fold(u64);

impl Hasher for Fold {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }
    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }
    fn write_u64(&mut self, value: u64) {
        let product = u128::from(self.0 ^ value ^ 0x9e37_79b9_7f4a_7c15)
            .wrapping_mul(0xda94_2042_e4dd_58b5_d1b5_4a32_d192_ed03);
        self.0 = (product >> 64) as u64 ^ product as u64;
    }
    fn write_isize(&mut self, value: isize) {
        self.write_u64(value as u64);
    }
    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }
}

/// The keys are hashes already.
#[derive(Debug, Default, Clone, Copy)]
struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {}
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

fn mark(state: &State) -> u64 {
    let mut fold = Fold::default();
    state.hash(&mut fold);
    fold.finish()
}

/// Where a state was first come to from.
type Origin = (u32, Move);

pub(crate) fn explore(scene: &Scene, states_max: usize) -> Found {
    let began = Instant::now();
    let looked_at = scene.properties();
    let start = scene.start();
    let mut seen: HashMap<u64, u32, BuildHasherDefault<Same>> = HashMap::default();
    let mut origins: Vec<Origin> = vec![(0, Move::Start)];
    seen.insert(mark(&start), 0);
    let mut edges: Vec<(u32, u32)> = Vec::new();
    let mut ends: Vec<u32> = Vec::new();
    let mut level = vec![(0_u32, start)];
    let mut depth = 0;
    let mut possible = Vec::new();
    let is_live = looked_at & Property::Resolved.bit() != 0;
    let fault = 'search: loop {
        let mut next = Vec::new();
        for (number, state) in &level {
            let needed = moves::possible(state, scene, &mut possible);
            if needed == 0 {
                ends.push(*number);
                let broken = properties::at_rest(state) & looked_at;
                if broken != 0 {
                    break 'search Some((broken, *number));
                }
            }
            for (index, &step) in possible.iter().enumerate() {
                let mut after = *state;
                moves::make(&mut after, step, scene);
                let broken = (after.broken | properties::of(&after)) & looked_at;
                after.broken = 0;
                let fresh = u32::try_from(origins.len()).expect("four thousand million states");
                let known = *seen.entry(mark(&after)).or_insert(fresh);
                if is_live && index < needed {
                    edges.push((known, *number));
                }
                if broken != 0 {
                    // The state may be known from a way that broke nothing.
                    origins.push((*number, step));
                    break 'search Some((broken, fresh));
                }
                if known == fresh {
                    origins.push((*number, step));
                    next.push((fresh, after));
                }
            }
        }
        assert!(
            origins.len() <= states_max,
            "{}: more than {states_max} states, {depth} deep",
            scene.name
        );
        if next.is_empty() {
            break None;
        }
        depth += 1;
        level = next;
    };
    let stuck = || restless(origins.len(), edges, &ends).filter(|_| is_live);
    let fault = fault.or_else(|| Some((Property::Resolved.bit(), stuck()?)));
    Found {
        states: seen.len(),
        depth,
        ends: ends.len(),
        time: began.elapsed(),
        kinds: origins.iter().map(|(_, step)| discriminant(step)).collect(),
        fault: fault.map(|(broken, number)| Fault {
            property: first(broken),
            path: path(&origins, number),
        }),
    }
}

fn first(broken: u16) -> Property {
    let found = PROPERTIES.into_iter().find(|one| one.bit() & broken != 0);
    found.expect("a property has this bit")
}

fn path(origins: &[Origin], mut number: u32) -> Vec<Move> {
    let mut path = Vec::new();
    while number != 0 {
        let (before, step) = origins[number as usize];
        path.push(step);
        number = before;
    }
    path.reverse();
    path
}

/// The first state from which the moves that need no fault lead to no end.
fn restless(states: usize, mut edges: Vec<(u32, u32)>, ends: &[u32]) -> Option<u32> {
    edges.sort_unstable();
    let mut rests = vec![false; states];
    let mut next: Vec<u32> = ends.to_vec();
    for &end in ends {
        rests[end as usize] = true;
    }
    while let Some(number) = next.pop() {
        let from = edges.partition_point(|edge| edge.0 < number);
        for &(to, before) in &edges[from..] {
            if to != number {
                break;
            }
            if !std::mem::replace(&mut rests[before as usize], true) {
                next.push(before);
            }
        }
    }
    let stuck = rests.iter().position(|rests| !rests);
    stuck.map(|number| u32::try_from(number).expect("counted above"))
}

/// The way to a fault, one move a line.
pub(crate) fn tell(fault: &Fault) -> String {
    let mut text = format!(
        "{:?} breaks after {} moves:\n",
        fault.property,
        fault.path.len()
    );
    for (index, step) in fault.path.iter().enumerate() {
        text.push_str(&format!("{:>4}  {step:?}\n", index + 1));
    }
    text
}
