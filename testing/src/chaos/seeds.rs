//! Seeds that failed once: kept in the repository, and run again before any other.
//!
//! ```text
//! # comment
//! seed minutes nodes letters
//! ```

use super::Run;
use super::schedule::{Kind, letters_of};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

/// The runs in a file; none if there is no file.
pub fn read(path: &Path) -> Result<Vec<Run>, String> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.map_err(|error| format!("{}: {error}", path.display()))?,
    };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| parse(line).ok_or_else(|| format!("{}: {line:?} is no run", path.display()))).collect()
}

fn parse(line: &str) -> Option<Run> {
    let mut words = line.split_whitespace();
    let run = Run {
        seed: words.next()?.parse().ok()?,
        minutes: words.next()?.parse().ok()?,
        nodes: words.next()?.parse().ok()?,
        kinds: Kind::parse(words.next()?).ok()?,
        data: None,
    };
    words.next().is_none().then_some(run)
}

/// Adds a run that failed, unless it is there.
pub fn keep(path: &Path, run: &Run) -> Result<(), String> {
    if read(path)?.iter().any(|kept| kept.line() == run.line()) {
        return Ok(());
    }
    let written =
        OpenOptions::new().create(true).append(true).open(path).and_then(|mut file| writeln!(file, "{}", run.line()));
    written.map_err(|error| format!("{}: {error}", path.display()))
}

impl Run {
    fn line(&self) -> String {
        format!("{} {} {} {}", self.seed, self.minutes, self.nodes, letters_of(self.kinds.iter().copied()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_kept_once_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seeds.txt");
        assert!(read(&path).unwrap().is_empty());
        let run = Run { seed: 7, minutes: 0.5, nodes: 4, kinds: Kind::parse("kw").unwrap(), data: None };
        keep(&path, &run).unwrap();
        keep(&path, &run).unwrap();
        let kept = read(&path).unwrap();
        assert_eq!((kept.len(), kept[0].line()), (1, "7 0.5 4 kw".to_owned()));
        let kept_in_the_repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("chaos-seeds.txt");
        read(&kept_in_the_repository).unwrap();
    }
}
