//! The blocks of the recipes are the code of this crate, and of the page that they name.

use std::{fs, path::Path};

#[test]
fn the_recipes_show_what_is_tested() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rust = texts(&here.join("src"));
    let pages = [texts(&here.join("web")), texts(&here.join("../board/web"))].concat();
    let mut count = 0;
    for (name, recipe) in texts(&here.join("../../docs/recipes")) {
        for (language, code) in [("rust", &rust), ("ts", &pages)] {
            for block in recipe.split(&format!("\n```{language}\n")).skip(1) {
                let block = block.split("```\n").next().expect("it ends");
                assert!(
                    code.iter().any(|(_, text)| text.contains(block)),
                    "{name} shows what is not tested:\n{block}"
                );
                count += 1;
            }
        }
    }
    assert!(count > 10, "{count} blocks are too few");
}

/// Every recipe with code has a module.
#[test]
fn every_module_has_its_recipe() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, _) in texts(&here.join("src")).into_iter().filter(|(name, _)| name != "lib.rs") {
        let recipe = here.join("../../docs/recipes").join(name.replace(".rs", ".md"));
        assert!(recipe.exists(), "{}", recipe.display());
    }
}

/// The files of a folder, by their names.
fn texts(folder: &Path) -> Vec<(String, String)> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let files = entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_file());
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
    files.map(|path| (name(&path), fs::read_to_string(&path).expect("text"))).collect()
}
