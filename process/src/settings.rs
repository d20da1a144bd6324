//! Settings in layers: defaults < settings file (`--config F`) < `.env` < environment < flags, for any clap struct.
//!
//! What it keeps true:
//! - A file's setting is used only where neither the flag nor its environment variable was given; a list is never merged.
//! - Every key of the file is a known flag, by its long name. A wrong key or value is refused with file, key and the nearest name.
//! - `-loglevel X` means `--loglevel X` (contract A14).

mod dotenv;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, Error, Parser};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// The id of the argument that names the settings file, in structs that have one.
const CONFIG: &str = "config";

/// Where settings may stand as if they were in the environment, in the directory that the process was started in (contract D6).
pub const ENVIRONMENT_FILE: &str = ".env";

/// Reads the settings of a process. On an error, or for `--help`, `main` calls [`clap::Error::exit`].
pub fn load<T: Parser>(args: impl Iterator<Item = OsString>) -> Result<T, Error> {
    load_with(args, Path::new(ENVIRONMENT_FILE))
}

/// The same, with another [`ENVIRONMENT_FILE`].
pub fn load_with<T: Parser>(args: impl Iterator<Item = OsString>, environment: &Path) -> Result<T, Error> {
    let mut args = with_double_dashes(args);
    // First without demanding what the file may give: which flags are there, and which file?
    let mut command = T::command();
    command.build();
    let lenient = command.clone().mut_args(|arg| arg.required(false));
    let given = lenient.clone().try_get_matches_from(&args)?;
    let refused_there = |why: &str| refused::<T>(ErrorKind::Io, environment, why);
    let from_environment = dotenv::arguments(environment, &command, &given).map_err(|why| refused_there(&why))?;
    let program = usize::from(!args.is_empty());
    args.splice(program..program, from_environment);
    // The flags alone were fine, so the file is to blame.
    let given = lenient.try_get_matches_from(&args).map_err(|error| refused_there(&first_line(&error)))?;
    let Some(path) = config_path(&given) else {
        return T::try_parse_from(args);
    };
    let from_file = read(&path)
        .and_then(|table| arguments(&command, &given, &table))
        .map_err(|why| refused::<T>(ErrorKind::Io, &path, &why))?;
    args.splice(program..program, from_file);
    T::try_parse_from(args).map_err(|error| match error.kind() {
        ErrorKind::MissingRequiredArgument => error,
        // The flags alone were fine, so the file is to blame.
        kind => refused::<T>(kind, &path, &first_line(&error)),
    })
}

/// A setting that has no flag, since the command line would show it to everybody: from the environment, or [`ENVIRONMENT_FILE`].
/// `Err` says why that cannot be read.
pub fn secret(name: &str) -> Result<Option<String>, String> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value)),
        Err(std::env::VarError::NotUnicode(_)) => Err(format!("{name} in the environment is not UTF-8")),
        Err(std::env::VarError::NotPresent) => {
            dotenv::value(Path::new(ENVIRONMENT_FILE), name).map_err(|why| format!("{ENVIRONMENT_FILE}: {why}"))
        }
    }
}

/// A number of bytes, plain or with a unit: `1048576`, `64MiB`, `1.5GB`. For clap's `value_parser`.
pub fn bytes(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 9] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("B", 1),
    ];
    let refused = || format!("{text:?} is not a number of bytes such as 1048576, 64MiB or 2GB");
    let unit = UNITS.into_iter().find(|(name, _)| text.ends_with(name));
    let (number, factor) = unit.map_or((text, 1), |(name, factor)| (&text[..text.len() - name.len()], factor));
    if let Ok(whole) = number.trim_end().parse::<u64>() {
        return whole.checked_mul(factor).ok_or_else(refused);
    }
    let number: f64 = number.trim_end().parse().map_err(|_| refused())?;
    let bytes = number * factor as f64;
    // Beyond 2^53 a float does not name a byte exactly any more.
    if factor == 1 || !(0.0..=9_007_199_254_740_992.0).contains(&bytes) {
        return Err(refused());
    }
    Ok(bytes as u64)
}

/// The least cache of an index, in bytes: sled takes no less than a few hundred, and is of no use below this.
const INDEX_CACHE_BYTES_MIN: u64 = 1 << 20;

/// Parses the memory for the cache of an index, as [`bytes`] does.
pub fn index_cache_bytes(text: &str) -> Result<u64, String> {
    at_least(INDEX_CACHE_BYTES_MIN, bytes(text)?)
}

/// The number, if it is not less than `min` bytes.
pub fn at_least(min: u64, bytes: u64) -> Result<u64, String> {
    if bytes < min { Err(format!("must be at least {min} bytes")) } else { Ok(bytes) }
}

fn with_double_dashes(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let double = |arg: OsString| match arg.to_str() {
        Some(text) if text == "-loglevel" || text.starts_with("-loglevel=") => OsString::from(format!("-{text}")),
        _ => arg,
    };
    args.map(double).collect()
}

fn config_path(given: &ArgMatches) -> Option<PathBuf> {
    given.try_get_one::<PathBuf>(CONFIG).ok().flatten().cloned()
}

fn read(path: &Path) -> Result<Table, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    text.parse::<Table>().map_err(|error| error.to_string().trim_end().to_owned())
}

/// The file's settings as flags, without those that the command line or the environment gave.
fn arguments(command: &Command, given: &ArgMatches, table: &Table) -> Result<Vec<OsString>, String> {
    let mut arguments = Vec::new();
    for (key, value) in table {
        let arg = known(command, key)?;
        // Checked also where it is overridden: a mistake must not lie in wait.
        let flags = flags(arg, key, value)?;
        let source = given.value_source(arg.get_id().as_str());
        if !matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable)) {
            arguments.extend(flags);
        }
    }
    Ok(arguments)
}

fn known<'a>(command: &'a Command, key: &str) -> Result<&'a Arg, String> {
    let may_be_set = |arg: &&Arg| !matches!(arg.get_long(), None | Some(CONFIG | "help" | "version"));
    let args: Vec<&Arg> = command.get_arguments().filter(may_be_set).collect();
    if let Some(arg) = args.iter().find(|arg| arg.get_long() == Some(key)) {
        return Ok(arg);
    }
    let nearest = args.iter().filter_map(|arg| arg.get_long()).min_by_key(|long| distance(key, long));
    match nearest {
        Some(nearest) => Err(format!("unknown setting `{key}`; the nearest known one is `{nearest}`")),
        None => Err(format!("unknown setting `{key}`")),
    }
}

/// The setting as it would be given on the command line.
fn flags(arg: &Arg, key: &str, value: &Value) -> Result<Vec<OsString>, String> {
    let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
    match value {
        Value::Boolean(on) if is_switch => Ok(on.then(|| format!("--{key}").into()).into_iter().collect()),
        _ if is_switch => Err(format!("`{key}` must be true or false")),
        Value::Array(_) if !matches!(arg.get_action(), ArgAction::Append) => {
            Err(format!("`{key}` takes one value, not a list"))
        }
        Value::Array(values) => values.iter().map(|value| flag(key, value)).collect(),
        value => Ok(vec![flag(key, value)?]),
    }
}

fn flag(key: &str, value: &Value) -> Result<OsString, String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(truth) => truth.to_string(),
        Value::Datetime(_) | Value::Array(_) | Value::Table(_) => {
            return Err(format!("`{key}` must be text, a number, true or false, or a list of these"));
        }
    };
    Ok(format!("--{key}={text}").into())
}

fn refused<T: Parser>(kind: ErrorKind, path: &Path, why: &str) -> Error {
    T::command().error(kind, format!("settings file {}: {why}", path.display()))
}

/// clap's message without its `error: ` and without the usage below it.
fn first_line(error: &Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// Levenshtein's distance, with `_` and `-` alike.
fn distance(a: &str, b: &str) -> usize {
    let normal = |text: &str| text.replace('_', "-").chars().collect::<Vec<char>>();
    let (a, b) = (normal(a), normal(b));
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
