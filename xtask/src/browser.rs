//! The chat example on every server, and the dashboard, driven by a real browser.

use std::{
    env, fs,
    path::{self, Path, PathBuf},
};

use crate::command::{Outcome, cargo, program, repository, run, run_each, works};
use crate::debian;
use crate::metadata::Metadata;

pub(crate) fn test() -> Outcome {
    check_node()?;
    let chromium = chromium()?;
    let target = Metadata::of_workspace()?.target_directory;
    let folder = prepare(target.join("browser-test"))?;
    run(cargo().args(["build", "-p", "chat", "-p", "dashboard", "-p", "cluster", "--bins", "--all-features"]))?;

    run_each(SERVERS, |(test, name, prefix)| {
        let server = format!("{name}{}", env::consts::EXE_SUFFIX);
        let name = format!("{name}{}", prefix.replace('/', "-under-"));
        let screenshots = target.join("screenshots").join(&name);
        create_folder(&screenshots)?;
        run(program("node")
            .current_dir(&folder)
            .env("CHROMIUM", &chromium)
            .arg(test)
            .arg("--server")
            .arg(target.join("debug").join(server))
            .args(["--name", &name, "--prefix", prefix, "--shots"])
            .arg(screenshots))
    })
}

/// Each test with its server, and the path under which a proxy serves that, if any.
const SERVERS: [(&str, &str, &str); 10] = [
    ("chat.test.mjs", "chat", ""),
    ("chat.test.mjs", "chat-actix", ""),
    ("chat.test.mjs", "chat-hyper", ""),
    ("chat.test.mjs", "chat-smol", ""),
    ("chat.test.mjs", "chat-async-std", ""),
    ("dashboard.test.mjs", "dashboard", ""),
    ("chat.test.mjs", "chat", "/app"),
    ("dashboard.test.mjs", "dashboard", "/app"),
    ("feeds.test.mjs", "chat", "/app"),
    ("cluster.test.mjs", "cluster", ""),
];

pub(crate) fn check_node() -> Outcome {
    for tool in ["node", "npm"] {
        if !works(program(tool).arg("--version"))? {
            return Err(format!(
                "this step needs {tool}: install Node.js 20 or later with npm \
                 (on Debian: apt-get install nodejs npm), or leave the step out with --skip"
            ));
        }
    }
    Ok(())
}

/// A browser of Debian's.
struct Browser {
    name: &'static str,
    /// The environment variable with the path of another.
    variable: &'static str,
    path: &'static str,
    packages: &'static [&'static str],
}

/// Includes fonts for the screenshots: without them letters and emoji are empty boxes.
const CHROMIUM: Browser = Browser {
    name: "Chromium",
    variable: "CHROMIUM",
    path: "/usr/bin/chromium",
    packages: &["chromium", "fonts-dejavu-core", "fonts-noto-color-emoji"],
};

const FIREFOX: Browser =
    Browser { name: "Firefox", variable: "FIREFOX", path: "/usr/bin/firefox-esr", packages: &["firefox-esr"] };

/// Returns the path of Chromium, which is installed if it is missing.
pub(crate) fn chromium() -> Outcome<PathBuf> {
    CHROMIUM.path()
}

/// Returns the path of Firefox, which is installed if it is missing.
pub(crate) fn firefox() -> Outcome<PathBuf> {
    FIREFOX.path()
}

impl Browser {
    fn path(&self) -> Outcome<PathBuf> {
        let Self { name, variable, path, packages } = self;
        if let Some(chosen) = env::var_os(variable).map(PathBuf::from) {
            if chosen.is_file() {
                return path::absolute(&chosen)
                    .map_err(|error| format!("{variable} has no absolute path: {error}"));
            }
            return Err(format!(
                "{variable} is {}, which is not a file: set it to the path of {name}, or unset it",
                chosen.display()
            ));
        }
        if !Path::new(path).is_file() {
            let alternative = format!(
                "or set {variable} to the path of one, or leave the steps out with --skip browser and --skip client-ts"
            );
            debian::install(name, packages, &alternative)?;
        }
        Ok(path.into())
    }
}

/// Copies the tests to a folder in the build directory and installs their packages there: the work tree stays clean.
fn prepare(folder: PathBuf) -> Outcome<PathBuf> {
    create_folder(&folder)?;
    let mut up_to_date = folder.join("node_modules/.package-lock.json").is_file();
    for file in files(&repository().join("examples/browser-test"))? {
        let name = file.file_name().unwrap_or_default();
        let same = copy(&file, &folder.join(name))?;
        let is_package = name == "package.json" || name == "package-lock.json";
        up_to_date &= same || !is_package;
    }

    if !up_to_date {
        run(program("npm").current_dir(&folder).args(["ci", "--no-audit", "--no-fund"]))?;
    }
    Ok(folder)
}

fn files(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let unreadable = |error| format!("{} can't be read: {error}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    Ok(files)
}

/// Copies a file. Returns true if an identical copy existed.
fn copy(from: &Path, to: &Path) -> Outcome<bool> {
    let content = fs::read(from).map_err(|error| format!("{} can't be read: {error}", from.display()))?;
    if fs::read(to).is_ok_and(|copied| copied == content) {
        return Ok(true);
    }
    fs::write(to, content).map_err(|error| format!("{} can't be written: {error}", to.display()))?;
    Ok(false)
}

pub(crate) fn create_folder(folder: &Path) -> Outcome {
    fs::create_dir_all(folder).map_err(|error| format!("{} can't be created: {error}", folder.display()))
}
