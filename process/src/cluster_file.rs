//! Reads the cluster file that `--cluster-file` names.

use protocol::{ClusterFile, Error, ErrorKind, Result};
use std::path::Path;

/// The cluster's id and secret. An error names the file and never shows its content.
pub fn read(path: &Path) -> Result<ClusterFile> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            std::io::ErrorKind::PermissionDenied => ErrorKind::Denied,
            _ => ErrorKind::Unavailable,
        };
        Error::caused(kind, format!("cannot read cluster file {shown}: {error}"), error)
    })?;
    ClusterFile::parse(&text).map_err(|error| Error::new(error.kind, format!("{shown}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_file_and_hide_its_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cluster.json");
        assert_eq!(read(&path).unwrap_err().kind, ErrorKind::NotFound);

        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, b"{\"secret\":\"hush\"}").unwrap();
        let error = read(file.path()).unwrap_err();
        assert!(error.message.contains(file.path().to_str().unwrap()), "{error}");
        assert!(!error.message.contains("hush"), "{error}");
    }
}
