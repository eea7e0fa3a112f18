//! Runs the soak, see [`tests::soak`]; `tests/soak` builds what it needs and calls it.

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Parser, ValueEnum};
use tests::soak::{Engine, Plan, run};

/// Mixed load on real servers, which are killed meanwhile with their database; fails at the first wrong answer.
#[derive(Parser)]
#[command(after_help = "Example:\n  soak --minutes 10 --engine postgres")]
struct Args {
    /// How long the load lasts, divided among the engines.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// On what the servers stand: both in turn when left out.
    #[arg(long)]
    engine: Option<Name>,
    /// What chance begins with: that of a failed run repeats its choices.
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Name {
    Sqlite,
    Postgres,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let engines = match args.engine {
        Some(Name::Sqlite) => vec![Engine::Sqlite],
        Some(Name::Postgres) => vec![Engine::Postgres],
        None => vec![Engine::Postgres, Engine::Sqlite],
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = args.seed.unwrap_or(now.as_secs());
    let each = Duration::from_secs(args.minutes * 60) / u32::try_from(engines.len()).unwrap_or(1);
    for engine in engines {
        println!("== {engine:?}, {} s, seed {seed}", each.as_secs());
        match run(&Plan { engine, length: each, seed }) {
            Ok(report) => println!("{report}"),
            Err(why) => {
                eprintln!("error: {why}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
