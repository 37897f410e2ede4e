//! The Rust files of a folder.

use std::{collections::BTreeMap, fs, io, path::Path};

use crate::command::Outcome;

/// The text of each file, by its path in the folder.
pub(crate) type Sources = BTreeMap<String, String>;

pub(crate) fn read(folder: &Path) -> Outcome<Sources> {
    let mut sources = Sources::new();
    collect(folder, "", &mut sources).map_err(|error| format!("{} can't be read: {error}", folder.display()))?;
    Ok(sources)
}

fn collect(folder: &Path, prefix: &str, sources: &mut Sources) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &format!("{name}/"), sources)?;
        } else if name.ends_with(".rs") {
            sources.insert(name, fs::read_to_string(entry.path())?);
        }
    }
    Ok(())
}
