use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

/// The files of the page, as Vite has built them.
#[derive(Debug)]
pub struct Page {
    files: HashMap<String, (&'static str, Vec<u8>)>,
}

impl Page {
    /// Reads the page. It is built first, by npm, if it is missing or older than its sources; `say` is told so.
    ///
    /// # Errors
    ///
    /// Returns an error if it cannot be built or read.
    pub fn load(say: impl Fn(&str)) -> io::Result<Self> {
        let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
        let built = web.join("dist");
        let client = web.join("../../../client-ts/src");
        let own = ["src", "index.html", "package-lock.json", "vite.config.ts"].map(|name| web.join(name));
        let sources = [own.as_slice(), &[client]].concat();
        if is_older(&built.join("index.html"), &sources)? {
            say("The page is built by npm; this takes a while the first time");
            build(&web)?;
        }
        let mut files = HashMap::new();
        for path in files_below(&built)? {
            let name = path.strip_prefix(&built).unwrap_or(&path).to_string_lossy().replace('\\', "/");
            files.insert(format!("/{name}"), (content_type(&path), fs::read(&path)?));
        }
        Ok(Self { files })
    }

    /// Returns the content type and bytes of a file. `/` is `/index.html`.
    pub fn file(&self, path: &str) -> Option<(&'static str, Vec<u8>)> {
        self.files.get(if path == "/" { "/index.html" } else { path }).cloned()
    }
}

fn build(web: &Path) -> io::Result<()> {
    let installed = web.join("node_modules/.package-lock.json");
    if is_older(&installed, &[web.join("package-lock.json")])? {
        npm(web, &["ci", "--ignore-scripts", "--no-audit", "--no-fund"])?;
    }
    npm(web, &["run", "build"])
}

fn npm(folder: &Path, arguments: &[&str]) -> io::Result<()> {
    let name = if cfg!(windows) { "npm.cmd" } else { "npm" };
    let status = Command::new(name).args(arguments).current_dir(folder).status();
    let status = status.map_err(|error| {
        io::Error::new(error.kind(), format!("npm cannot be run ({error}): install Node.js 20 or later"))
    })?;
    if status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("npm {} failed in {}: {status}", arguments.join(" "), folder.display())))
}

/// Returns true if the file is missing, or one of the sources is newer.
fn is_older(file: &Path, sources: &[PathBuf]) -> io::Result<bool> {
    let Ok(built) = fs::metadata(file).and_then(|metadata| metadata.modified()) else { return Ok(true) };
    for source in sources {
        for path in files_below(source)? {
            let changed: SystemTime = fs::metadata(&path)?.modified()?;
            if changed > built {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Returns the file itself, or all files of a folder.
fn files_below(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        files.extend(files_below(&entry?.path())?);
    }
    Ok(files)
}

fn content_type(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}
