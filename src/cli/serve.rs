//! What `quorate serve` takes. `app::serve` does the work.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{ArgGroup, Args};
use ipnet::{IpNet, Ipv4Net};

use super::parse;
use super::telemetry::TelemetryArgs;
use crate::core::limits;

const EXAMPLES: &str = "\
Examples:
  quorate serve --data-dir /var/lib/quorate
  quorate serve --listen 0.0.0.0:50051 --data-dir ./data --log quorate=debug
  quorate serve --data-dir ./data --admin 127.0.0.1:9464      metrics, probes, a page to look at
  quorate serve --config /etc/quorate.toml
  quorate serve --in-memory      to try it out: everything is forgotten at the end";

/// Arguments of `quorate serve`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
#[command(group = ArgGroup::new("store").required(true).args(["data_dir", "in_memory"]))]
pub struct ServeArgs {
    /// A file with settings (docs/configuration.md); flags and environment variables win over it
    #[arg(long, value_name = "FILE", env = "QUORATE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Address and port to listen on
    #[arg(long, value_name = "ADDRESS", env = "QUORATE_LISTEN", default_value = "127.0.0.1:50051")]
    pub listen: SocketAddr,
    /// Folder for the database; made if it is missing
    #[arg(long, value_name = "DIR", env = "QUORATE_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Keep everything in memory: a restart forgets all meetings
    #[arg(long, env = "QUORATE_IN_MEMORY", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub in_memory: bool,
    /// Requests and watches that one caller (an address) may have open at once
    #[arg(long, value_name = "N", env = "QUORATE_MAX_REQUESTS_PER_CALLER",
          default_value_t = limits::REQUESTS_PER_CALLER, value_parser = at_least_one)]
    pub max_requests_per_caller: usize,
    /// Streams of agents that one caller (an address) may have open at once
    #[arg(long, value_name = "N", env = "QUORATE_MAX_STREAMS_PER_CALLER",
          default_value_t = limits::STREAMS_PER_CALLER, value_parser = at_least_one)]
    pub max_streams_per_caller: usize,
    /// Participants that the streams of one caller (an address) may speak for at a time, together
    #[arg(long, value_name = "N", env = "QUORATE_MAX_PARTICIPANTS_PER_CALLER",
          default_value_t = limits::PARTICIPANTS_PER_CALLER, value_parser = at_least_one)]
    pub max_participants_per_caller: usize,
    /// The highest priority that callers may ask for
    #[arg(long, value_name = "N", env = "QUORATE_MAX_PRIORITY", default_value_t = limits::PRIORITY_MAX,
          value_parser = clap::value_parser!(i32).range(1..=limits::PRIORITY_MAX as i64))]
    pub max_priority: i32,
    /// The highest priority that callers from a network may ask for, such as 10.1.0.0/16=100, in place of --max-priority; the
    /// narrowest network counts. May be given many times, or once with ';' between
    #[arg(long, value_name = "NETWORK=N", env = "QUORATE_MAX_PRIORITY_FROM", value_delimiter = ';',
          value_parser = priority_from)]
    pub max_priority_from: Vec<(IpNet, i32)>,
    /// Address and port for probes, metrics and the status page: read-only, and without a password. Not served unless given
    #[arg(long, value_name = "ADDRESS", env = "QUORATE_ADMIN")]
    pub admin: Option<SocketAddr>,
    /// What to log, as a tracing filter such as info or quorate=debug
    #[arg(long, value_name = "FILTER", env = "QUORATE_LOG", default_value = "info", value_parser = parse::log_filter)]
    pub log: String,
    /// Logs and traces.
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".into()),
        Ok(n) => Ok(n),
        Err(error) => Err(format!("{error}")),
    }
}

/// A network, or a single address, and the highest priority from there.
fn priority_from(text: &str) -> Result<(IpNet, i32), String> {
    let (net, priority) =
        text.split_once('=').ok_or("must be NETWORK=N, such as 10.1.0.0/16=100".to_owned())?;
    let (net, priority) = (net.trim(), priority.trim());
    let parsed = net.parse::<IpNet>().or_else(|_| net.parse::<IpAddr>().map(IpNet::from));
    let net = parsed.map_err(|_| format!("'{net}' is no network such as 10.1.0.0/16, and no address"))?;
    let range = 1..=limits::PRIORITY_MAX;
    match priority.parse() {
        Ok(priority) if range.contains(&priority) => Ok((unmapped(net.trunc()), priority)),
        _ => Err(format!("'{priority}' is no priority: 1 to {}", limits::PRIORITY_MAX)),
    }
}

/// Callers over IPv4 are known by their IPv4 addresses, whichever way they are written here.
fn unmapped(net: IpNet) -> IpNet {
    let mapped = match net {
        IpNet::V6(net) => net.addr().to_ipv4_mapped().zip(net.prefix_len().checked_sub(96)),
        IpNet::V4(_) => None,
    };
    let unmapped = mapped.and_then(|(address, length)| Ipv4Net::new(address, length).ok());
    unmapped.map_or(net, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_and_their_priorities() {
        let read = |text: &str| priority_from(text).map(|(net, priority)| format!("{net} {priority}"));
        for (text, meant) in [
            ("10.1.2.3/16=100", "10.1.0.0/16 100"),
            (" 192.0.2.7 = 1 ", "192.0.2.7/32 1"),
            ("2001:db8::/32=7", "2001:db8::/32 7"),
            ("::ffff:10.0.0.0/104=5", "10.0.0.0/8 5"),
            ("::ffff:192.0.2.1=5", "192.0.2.1/32 5"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(meant), "{text}");
        }
        for (text, why) in [
            ("10.0.0.0/8", "must be NETWORK=N"),
            ("10.0.0.0/33=1", "is no network"),
            ("here=1", "is no network"),
            ("10.0.0.0/8=0", "is no priority: 1 to 100"),
            ("10.0.0.0/8=101", "is no priority"),
            ("10.0.0.0/8=", "is no priority"),
        ] {
            assert!(read(text).unwrap_err().contains(why), "{text}");
        }
    }
}
