//! Imports in `src`: a folder uses only those below it, and files use each other in no circle. Read from the
//! sources' paths, by a parser. Must not look at code that is compiled for tests only, nor into macros.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use syn::visit::{self, Visit};
use syn::{Attribute, Item, Path, UseTree};

use super::{root, sources};

/// The folders of `src`, from top to bottom. Each may use those below it, and no other.
const ORDER: [&str; 14] = [
    "redis",
    "settings",
    "commands",
    "schedule",
    "removal",
    "plan",
    "orphans",
    "scan",
    "cluster",
    "heartbeat",
    "report",
    "keys",
    "reply",
    "util",
];

/// A file by its module path: `keys::layout`.
type Module = Vec<String>;

/// What one file names: paths from the root of the crate.
struct Named {
    /// The module that the code at hand is in.
    here: Module,
    paths: BTreeSet<Module>,
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Ident>()
                .is_ok_and(|word| word == "test")
    })
}

impl Named {
    /// A path as it is written, from the root of the crate; `None` if it is of another crate or of this file.
    fn absolute(&self, words: &[String]) -> Option<Module> {
        let (first, mut rest) = words.split_first()?;
        let mut from = match first.as_str() {
            "crate" => Vec::new(),
            "self" => self.here.clone(),
            "super" => {
                let parent = self.here.len().checked_sub(1)?;
                self.here.get(..parent)?.to_vec()
            }
            _ => return None,
        };
        while rest.first().is_some_and(|word| word == "super") {
            from.pop();
            rest = rest.get(1..)?;
        }
        from.extend(rest.iter().cloned());
        Some(from)
    }

    fn add(&mut self, words: &[String]) {
        let path = self.absolute(words);
        self.paths.extend(path);
    }

    fn add_tree(&mut self, before: &[String], tree: &UseTree) {
        let with = |word: &syn::Ident| [before, &[word.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.add_tree(&with(&path.ident), &path.tree),
            UseTree::Name(name) => self.add(&with(&name.ident)),
            UseTree::Rename(name) => self.add(&with(&name.ident)),
            UseTree::Glob(_) => self.add(before),
            UseTree::Group(group) => {
                group
                    .items
                    .iter()
                    .for_each(|tree| self.add_tree(before, tree));
            }
        }
    }
}

impl<'a> Visit<'a> for Named {
    fn visit_item(&mut self, item: &'a Item) {
        match item {
            Item::Use(item) if !is_for_tests(&item.attrs) => self.add_tree(&[], &item.tree),
            Item::Mod(item) if !is_for_tests(&item.attrs) => {
                self.here.push(item.ident.to_string());
                visit::visit_item_mod(self, item);
                self.here.pop();
            }
            Item::Use(_) | Item::Mod(_) => {}
            Item::Fn(item) if is_for_tests(&item.attrs) => {}
            item => visit::visit_item(self, item),
        }
    }

    fn visit_path(&mut self, path: &'a Path) {
        let words: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        self.add(&words);
        visit::visit_path(self, path);
    }
}

fn module_of(file: &str) -> Module {
    let name = file.strip_suffix(".rs").unwrap();
    let name = name.strip_suffix("/mod").unwrap_or(name);
    name.split('/')
        .filter(|word| *word != "lib")
        .map(str::to_owned)
        .collect()
}

/// Files that are compiled for tests alone, by how they are called.
fn is_test_file(file: &str) -> bool {
    [
        "tests.rs",
        "plan_model.rs",
        "pages.rs",
        "findings_causes.rs",
    ]
    .iter()
    .any(|end| file.ends_with(end))
}

/// For every file which files it uses.
fn arrows() -> BTreeMap<Module, BTreeSet<Module>> {
    let files: Vec<String> = sources(&root())
        .into_iter()
        .map(|(path, _)| path.to_str().unwrap().to_owned())
        .filter(|file| !is_test_file(file))
        .collect();
    let known: BTreeSet<Module> = files.iter().map(|file| module_of(file)).collect();
    let mut arrows = BTreeMap::new();
    for file in &files {
        let text = fs::read_to_string(root().join(PathBuf::from(file))).unwrap();
        let here = module_of(file);
        let mut named = Named {
            here: here.clone(),
            paths: BTreeSet::new(),
        };
        named.visit_file(&syn::parse_file(&text).unwrap());
        let file_of = |path: &Module| {
            let longest = (1..=path.len()).rev().map(|length| &path[..length]);
            longest
                .map(<[String]>::to_vec)
                .find(|path| known.contains(path))
        };
        let mut used: BTreeSet<Module> = named.paths.iter().filter_map(file_of).collect();
        used.remove(&here);
        arrows.insert(here, used);
    }
    let count: usize = arrows.values().map(BTreeSet::len).sum();
    assert!(count > 100, "imports are looked for in vain: {arrows:?}");
    arrows
}

#[test]
fn a_folder_uses_only_those_below_it() {
    let floor = |module: &Module| {
        let folder = module.first()?;
        let floor = ORDER.iter().position(|known| known == folder);
        Some(floor.unwrap_or_else(|| panic!("'{folder}' stands in no place of the order")))
    };
    let mut wrong = Vec::new();
    for (module, used) in arrows() {
        for other in used {
            if floor(&other) < floor(&module) {
                wrong.push(format!("{} -> {}", module.join("::"), other.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "these use a folder above: {wrong:#?}");
    for folder in ORDER {
        assert!(root().join(folder).is_dir(), "there is no folder {folder}");
    }
}

/// A parent and a module below it may use each other.
fn is_family(one: &Module, other: &Module) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

/// Everything that can be reached from a file by following arrows, parents and their own children left out.
fn reached(from: &Module, arrows: &BTreeMap<Module, BTreeSet<Module>>) -> BTreeSet<Module> {
    let mut found = BTreeSet::new();
    let mut next = vec![from.clone()];
    while let Some(module) = next.pop() {
        for other in arrows.get(&module).into_iter().flatten() {
            if !is_family(&module, other) && found.insert(other.clone()) {
                next.push(other.clone());
            }
        }
    }
    found
}

#[test]
fn files_use_each_other_in_no_circle() {
    let arrows = arrows();
    let in_circles: Vec<String> = arrows
        .keys()
        .filter(|module| reached(module, &arrows).contains(*module))
        .map(|module| module.join("::"))
        .collect();
    assert!(in_circles.is_empty(), "in a circle: {in_circles:#?}");
}

fn contributing() -> String {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(root.join("CONTRIBUTING.md")).unwrap()
}

/// Words between backticks that are paths below `src`.
fn paths_in(text: &str) -> Vec<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter(|word| word.starts_with("src/")).collect()
}

#[test]
fn the_map_has_the_folders_in_their_order() {
    let page = contributing();
    let (_, map) = page.split_once("## Map of the source").unwrap();
    let (map, _) = map.split_once("\n## ").unwrap();
    let rows = map.lines().filter_map(|line| line.strip_prefix("| `src/"));
    let folders: Vec<&str> = rows
        .filter_map(|row| row.split_once("/` |"))
        .map(|row| row.0)
        .collect();
    assert_eq!(folders, ORDER);
}

#[test]
fn every_file_that_the_page_names_is_there() {
    let page = contributing();
    let paths = paths_in(&page);
    assert!(paths.len() > 20, "{paths:?}");
    let source = root();
    let is_there = |path: &&str| source.parent().unwrap().join(path).exists();
    let missing: Vec<&str> = paths.into_iter().filter(|path| !is_there(path)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
