//! Defaults < settings file < environment < flags, and a clear word about every mistake.

#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use clap::Parser;
use process::logs::Level;
use process::settings::{bytes, load, load_with};
use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use tempfile::NamedTempFile;

/// Variables that cargo sets for every test stand for those of an operator: setting one is unsafe in a threaded process.
#[derive(Parser, Debug)]
struct Settings {
    #[arg(long)]
    config: Option<PathBuf>,
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: Vec<String>,
    #[arg(long)]
    data: PathBuf,
    #[arg(long, env = "CARGO_PKG_NAME", default_value = "default")]
    zone: String,
    #[arg(long, value_enum, default_value_t)]
    loglevel: Level,
    #[arg(long, default_value_t = 30)]
    body_stall_s: u64,
    #[arg(long)]
    insecure_no_auth: bool,
    #[command(subcommand)]
    command: Option<Job>,
}

#[derive(clap::Subcommand, Debug)]
enum Job {
    NewCluster {
        #[arg(long)]
        cluster_file: PathBuf,
    },
}

fn try_load(args: &[&str]) -> Result<Settings, clap::Error> {
    load(std::iter::once("program").chain(args.iter().copied()).map(OsString::from))
}

fn file(text: &str) -> (NamedTempFile, String) {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let flag = format!("--config={}", file.path().display());
    (file, flag)
}

/// The refusal of a settings file, which must name it.
fn refusal(text: &str) -> String {
    let (file, flag) = file(text);
    let error = try_load(&[&flag, "--data=d"]).unwrap_err().to_string();
    assert!(error.contains(file.path().to_str().unwrap()), "{error}");
    error
}

#[test]
fn without_a_file_flags_environment_and_defaults_count() {
    let settings = try_load(&["--data", "d", "--body-stall-s=5"]).unwrap();
    assert_eq!(settings.listen, ["127.0.0.1:8080"]);
    assert_eq!(settings.zone, "process", "from the environment");
    assert_eq!((settings.body_stall_s, settings.loglevel), (5, Level::Error));
}

#[test]
fn a_file_overrides_defaults_and_gives_what_is_required() {
    let (_file, flag) = file(
        "data = 'from-file'\nlisten = ['a:1', 'b:2']\nbody-stall-s = 7\nloglevel = 'info'\ninsecure-no-auth = true",
    );
    let settings = try_load(&[&flag]).unwrap();
    assert_eq!(settings.data, PathBuf::from("from-file"));
    assert_eq!(settings.listen, ["a:1", "b:2"]);
    assert_eq!((settings.body_stall_s, settings.loglevel, settings.insecure_no_auth), (7, Level::Info, true));
}

#[test]
fn flags_and_environment_override_the_file_and_lists_do_not_merge() {
    let (_file, flag) = file("data = 'f'\nlisten = ['a:1', 'b:2']\nzone = 'from-file'\nbody-stall-s = 7");
    let settings = try_load(&["--listen=c:3", &flag, "--body-stall-s", "9"]).unwrap();
    assert_eq!(settings.listen, ["c:3"]);
    assert_eq!(settings.zone, "process");
    assert_eq!((settings.body_stall_s, settings.data), (9, PathBuf::from("f")));
}

#[test]
fn a_single_dash_loglevel_is_understood_in_both_spellings() {
    assert_eq!(try_load(&["--data=d", "-loglevel", "info"]).unwrap().loglevel, Level::Info);
    assert_eq!(try_load(&["-loglevel=debug", "--data=d"]).unwrap().loglevel, Level::Debug);
    assert_eq!(try_load(&["--data=d", "--loglevel", "warn"]).unwrap().loglevel, Level::Warn);
    let error = try_load(&["--data=d", "-loglevel", "loud"]).unwrap_err().to_string();
    assert!(error.contains("loud") && error.contains("--loglevel") && error.contains("debug"), "{error}");
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one() {
    let error = refusal("body_stall_s = 7");
    assert!(error.contains("`body_stall_s`") && error.contains("`body-stall-s`"), "{error}");
    assert!(refusal("lissten = 'x'").contains("`listen`"));
    assert!(refusal("config = 'x'").contains("`config`"), "a file does not name another");
    assert!(refusal("help = true").contains("`help`"));
}

#[test]
fn a_wrong_value_is_refused_with_file_key_and_value() {
    let error = refusal("body-stall-s = 'soon'");
    assert!(error.contains("soon") && error.contains("--body-stall-s"), "{error}");
    assert!(refusal("zone = ['a', 'b']").contains("`zone` takes one value"));
    assert!(refusal("insecure-no-auth = 1").contains("`insecure-no-auth` must be true or false"));
    assert!(refusal("[listen]\na = 1").contains("`listen` must be text"));
    assert!(refusal("listen = ").contains("line 1"));
    assert!(refusal("zone = \"--data=x\"\nbody-stall-s = -1").contains("-1"), "a value is never taken for a flag");
}

#[test]
fn a_missing_file_is_named() {
    let error = try_load(&["--config=/nowhere/holdfast.toml", "--data=d"]).unwrap_err().to_string();
    assert!(error.contains("/nowhere/holdfast.toml"), "{error}");
}

#[test]
fn what_neither_flags_nor_file_give_is_asked_for() {
    let (_file, flag) = file("body-stall-s = 7");
    assert!(try_load(&[&flag]).unwrap_err().to_string().contains("--data"));
}

#[test]
fn a_subcommand_keeps_its_own_flags() {
    let (_file, flag) = file("data = 'f'");
    let settings = try_load(&[&flag, "new-cluster", "--cluster-file=c.json"]).unwrap();
    let Some(Job::NewCluster { cluster_file }) = settings.command else { panic!("no subcommand") };
    assert_eq!(cluster_file, PathBuf::from("c.json"));
}

#[test]
fn help_and_unknown_flags_are_left_to_clap() {
    assert_eq!(try_load(&["--help"]).unwrap_err().kind(), clap::error::ErrorKind::DisplayHelp);
    let (_file, flag) = file("data = 'f'");
    assert_eq!(try_load(&[&flag, "--nope"]).unwrap_err().kind(), clap::error::ErrorKind::UnknownArgument);
}

#[test]
fn sizes_take_units_and_refuse_nonsense() {
    assert_eq!(bytes("1048576"), Ok(1 << 20));
    assert_eq!(bytes("64MiB"), Ok(64 << 20));
    assert_eq!(bytes("1.5 GB"), Ok(1_500_000_000));
    assert_eq!(bytes("0"), Ok(0));
    assert_eq!(bytes("512B"), Ok(512));
    for text in ["", "MiB", "-1", "1.5", "1e3", "64M", "lots", "99999999999TiB", "NaN KB", "inf GB"] {
        assert!(bytes(text).is_err(), "{text}");
    }
}

#[test]
fn a_dotenv_file_stands_below_the_environment_and_above_the_settings_file() {
    #[derive(Parser, Debug)]
    struct Gateway {
        #[arg(long)]
        config: Option<PathBuf>,
        #[arg(long, env = "HOLDFAST_TEST_PORT", default_value_t = 8080)]
        port: u16,
        #[arg(long, env = "CARGO_PKG_NAME")]
        name: String,
        #[arg(long, env = "HOLDFAST_TEST_OPEN")]
        open: bool,
        #[arg(long, env = "HOLDFAST_TEST_NODES", value_delimiter = ',')]
        node: Vec<String>,
    }
    let (file, config) = file("port = 1\nnode = ['c']");
    let load = |text: &str, args: &[&str]| {
        let mut dotenv = NamedTempFile::new().unwrap();
        dotenv.write_all(text.as_bytes()).unwrap();
        let args = std::iter::once("program").chain(args.iter().copied()).map(OsString::from);
        load_with::<Gateway>(args, dotenv.path()).map_err(|error| {
            let text = error.to_string();
            assert!(text.contains(dotenv.path().to_str().unwrap()), "{text}");
            text
        })
    };
    let text = "HOLDFAST_TEST_PORT=3000\nCARGO_PKG_NAME=other\nHOLDFAST_TEST_OPEN=true\nDATABASE_URL=x\nHOLDFAST_TEST_NODES='a,b'";
    let settings = load(text, &[&config]).unwrap();
    assert_eq!((settings.port, settings.open), (3000, true), "it goes before the settings file");
    assert_eq!(settings.node, ["a", "b"]);
    assert_eq!(settings.name, "process", "the environment goes before it");
    assert_eq!(load(text, &["--port=5"]).unwrap().port, 5, "a flag goes before all");
    let settings = load("HOLDFAST_TEST_PORT=\nHOLDFAST_TEST_OPEN=off", &[&config]).unwrap();
    assert_eq!((settings.port, settings.open), (1, false), "what is empty is not given");
    assert_eq!(settings.config.as_deref(), Some(file.path()));
    for (bad, word) in
        [("HOLDFAST_TEST_PORT=many", "many"), ("HOLDFAST_TEST_OPEN=maybe", "maybe"), ("nonsense", "line 1")]
    {
        assert!(load(bad, &[]).unwrap_err().contains(word), "{bad}");
    }
    let none = load_with::<Gateway>(
        ["program"].into_iter().map(OsString::from),
        file.path().parent().unwrap().join("no-such-file").as_path(),
    );
    assert_eq!(none.unwrap().port, 8080);
}
