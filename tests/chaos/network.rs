//! Network namespaces of the test's own: one with a bridge, one for the scheduler, one for each agent host. Nothing of
//! the machine's own network is touched, but for one end of a cable over which organizers reach the scheduler.
//! Everything is removed at the end, however the test ends.

use std::collections::BTreeSet;
use std::process::Command;

/// A link of the bridge: `(from, to)` says who is not heard by whom. Member 0 is the scheduler.
pub type Cut = (usize, usize);

/// The namespaces, and what is cut.
pub struct Network {
    name: String,
    members: usize,
    /// The third number of the addresses on the bridge's side, which nobody outside sees, and of the cable.
    block: u8,
    cuts: BTreeSet<Cut>,
    /// What removes what was made, the last first.
    removals: Vec<String>,
    /// Packets that were dropped at cuts that are mended.
    dropped: u64,
}

/// Runs a command; the error has what it said.
fn run(line: &str) -> Result<(), String> {
    run_with(line, "").map(drop)
}

fn run_with(line: &str, last: &str) -> Result<String, String> {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    if !last.is_empty() {
        command.arg(last);
    }
    let output = command.output().map_err(|error| format!("{line}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{line} {last}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

impl Network {
    /// Makes it, for the scheduler and as many agent hosts.
    ///
    /// # Errors
    /// The machine doesn't allow it; then nothing is left.
    pub fn build(hosts: usize) -> Result<Self, String> {
        let id = uuid::Uuid::new_v4();
        let [a, b, c, block, ..] = *id.as_bytes();
        let mut network = Self {
            name: format!("q{a:02x}{b:02x}{c:02x}"),
            members: hosts + 1,
            block,
            cuts: BTreeSet::new(),
            removals: Vec::new(),
            dropped: 0,
        };
        // If it fails half-way, what there is goes when it is dropped.
        network.make()?;
        Ok(network)
    }

    fn make(&mut self) -> Result<(), String> {
        let hub = format!("{}-hub", self.name);
        self.add_namespace(&hub)?;
        run(&format!("ip -n {hub} link add bridge type bridge"))?;
        run(&format!("ip -n {hub} link set bridge up"))?;
        for index in 0..self.members {
            let (space, port) = (self.namespace(index), format!("port{index}"));
            self.add_namespace(&space)?;
            run(&format!("ip -n {space} link set lo up"))?;
            run(&format!("ip -n {hub} link add {port} type veth peer name eth0 netns {space}"))?;
            run(&format!("ip -n {hub} link set {port} master bridge up"))?;
            run(&format!("ip -n {space} addr add {}/24 dev eth0", self.address(index)))?;
            run(&format!("ip -n {space} link set eth0 up"))?;
            for rules in
                ["add table inet cut", "add chain inet cut in { type filter hook input priority 0; }"]
            {
                run_with(&format!("ip netns exec {space} nft"), rules)?;
            }
        }
        let (cable, space) = (format!("{}c", self.name), self.namespace(0));
        run(&format!("ip link add {cable} type veth peer name cable netns {space}"))?;
        // With one end the other goes. It would go with its namespace too, but some time later.
        self.removals.push(format!("ip link del {cable}"));
        run(&format!("ip addr add 198.18.{}.1/30 dev {cable}", self.block))?;
        run(&format!("ip link set {cable} up"))?;
        run(&format!("ip -n {space} addr add {}/30 dev cable", self.public()))?;
        run(&format!("ip -n {space} link set cable up"))
    }

    fn add_namespace(&mut self, name: &str) -> Result<(), String> {
        run(&format!("ip netns add {name}"))?;
        self.removals.push(format!("ip netns del {name}"));
        Ok(())
    }

    /// The namespace of a member.
    pub fn namespace(&self, index: usize) -> String {
        format!("{}-{index}", self.name)
    }

    /// A member's address on the bridge.
    pub fn address(&self, index: usize) -> String {
        format!("10.{}.77.{}", self.block, index + 1)
    }

    /// The scheduler's address at the end of the cable (RFC 2544's block: nobody else uses it).
    pub fn public(&self) -> String {
        format!("198.18.{}.2", self.block)
    }

    /// Cuts these, and mends all others. What comes over a link that is cut is dropped where it arrives, without a word.
    pub fn cut(&mut self, cuts: BTreeSet<Cut>) {
        let changed: BTreeSet<usize> = self.cuts.symmetric_difference(&cuts).map(|(_, to)| *to).collect();
        for to in changed {
            let nft = format!("ip netns exec {} nft", self.namespace(to));
            let present = run_with(&nft, "list chain inet cut in").expect("the rules are listed");
            self.dropped += packets(&present);
            let mut rules = String::from("flush chain inet cut in");
            for (from, _) in cuts.iter().filter(|cut| cut.1 == to) {
                rules += &format!("; add rule inet cut in ip saddr {} counter drop", self.address(*from));
            }
            run_with(&nft, &rules).expect("the rules are set");
        }
        self.cuts = cuts;
    }

    pub fn cuts(&self) -> &BTreeSet<Cut> {
        &self.cuts
    }

    /// How many packets were dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// What the counters of a chain say together: `… counter packets 3 bytes 180 drop`.
fn packets(chain: &str) -> u64 {
    let words: Vec<&str> = chain.split_whitespace().collect();
    let counted = words.windows(2).filter(|pair| pair[0] == "packets");
    counted.map(|pair| pair[1].parse::<u64>().expect("a number of packets")).sum()
}

impl Drop for Network {
    fn drop(&mut self) {
        for removal in self.removals.drain(..).rev() {
            // A test that panics must not panic again.
            if let Err(why) = run(&removal) {
                super::support::say(&why);
            }
        }
    }
}
