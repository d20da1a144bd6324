//! A `.env` file (contract D6): lines `NAME=value`, which count as if they stood in the environment; what stands there goes before it.
//!
//! What it keeps true: names that no setting has are left alone, since the file is shared with other programs; a line that is no
//! setting at all is refused with its number.

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::Path;

/// The file's settings as flags, without those that the command line or the environment gave. No file, no settings.
pub(super) fn arguments(path: &Path, command: &Command, given: &ArgMatches) -> Result<Vec<OsString>, String> {
    let mut arguments = Vec::new();
    for (name, value) in read(path)? {
        let has_name = |arg: &&Arg| arg.get_env().is_some_and(|env| env == name.as_str());
        let Some((arg, long)) = command.get_arguments().find(has_name).and_then(|arg| Some((arg, arg.get_long()?)))
        else {
            continue;
        };
        let source = given.value_source(arg.get_id().as_str());
        if value.is_empty() || matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable)) {
            continue;
        }
        if !matches!(arg.get_action(), ArgAction::SetTrue) {
            arguments.push(format!("--{long}={value}").into());
        } else if is_yes(&name, &value)? {
            arguments.push(format!("--{long}").into());
        }
    }
    Ok(arguments)
}

/// What the file says of `name`, if it says something.
pub(super) fn value(path: &Path, name: &str) -> Result<Option<String>, String> {
    let found = read(path)?.into_iter().find(|(known, _)| known == name);
    Ok(found.map(|(_, value)| value).filter(|value| !value.is_empty()))
}

fn read(path: &Path) -> Result<Vec<(String, String)>, String> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error.to_string()),
    }
}

fn is_yes(name: &str, value: &str) -> Result<bool, String> {
    match value {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        other => Err(format!("{name}={other} must be true or false")),
    }
}

/// Names and values in their order; of a name that comes twice, the last counts.
fn parse(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, value)) = line.split_once('=') else {
            // What stands there may be a secret.
            return Err(format!("line {} is not NAME=value", at + 1));
        };
        let name = name.trim().to_owned();
        pairs.retain(|(known, _)| *known != name);
        pairs.push((name, unquoted(value.trim())));
    }
    Ok(pairs)
}

/// A value in quotes is what is between them; without, it ends at a comment.
fn unquoted(value: &str) -> String {
    for quote in ['"', '\''] {
        if let Some((inside, _)) = value.strip_prefix(quote).and_then(|rest| rest.split_once(quote)) {
            return inside.to_owned();
        }
    }
    let end = value.find(" #").unwrap_or(value.len());
    value[..end].trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::{parse, value};
    use std::io::Write;
    use std::path::Path;
    use tempfile::NamedTempFile;

    #[test]
    fn lines_as_such_files_have_them() {
        let text = "# gateway\nNODE_ID=gw-1\n\nexport PORT=3000 # local\nURL=\"postgres://u:p@h/d#x\" # db\nA='b c'\nPORT=3001\nE=\n";
        let pairs = parse(text).unwrap();
        let expected =
            [("NODE_ID", "gw-1"), ("URL", "postgres://u:p@h/d#x"), ("A", "b c"), ("PORT", "3001"), ("E", "")];
        assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(parse("A=1\nnonsense").unwrap_err(), "line 2 is not NAME=value");
    }

    #[test]
    fn what_has_no_flag_is_looked_up_by_name() {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(b"KEY='a secret'\nEMPTY=\n").unwrap();
        assert_eq!(value(file.path(), "KEY"), Ok(Some("a secret".to_owned())));
        assert_eq!((value(file.path(), "EMPTY"), value(file.path(), "OTHER")), (Ok(None), Ok(None)));
        assert_eq!(value(Path::new("no/such/file"), "KEY"), Ok(None));
        file.write_all(b"a secret in a line of its own\n").unwrap();
        assert_eq!(value(file.path(), "KEY").unwrap_err(), "line 3 is not NAME=value");
    }
}
