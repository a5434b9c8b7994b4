use std::fs;
use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use tar::{EntryType, Header};

use super::super::scene::{Scene, TINY, pair};
use super::refused;
use super::server::{Reply, Request, Server};

/// A scene without a proxy between the program and the server.
pub fn scene() -> Scene {
    let mut scene = Scene::new();
    scene.set("NO_PROXY", "127.0.0.1");
    scene
}

/// An entry as it stands in the archive, with any name.
pub fn entry(name: &str, kind: EntryType, link: &str, contents: &[u8]) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(contents.len() as u64);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend(contents);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

pub fn file(name: &str, contents: &[u8]) -> Vec<u8> {
    entry(name, EntryType::Regular, "", contents)
}

pub fn packed(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&entries.concat()).unwrap();
    encoder.write_all(&[0; 1024]).unwrap();
    encoder.finish().unwrap()
}

pub fn png(number: u32) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    pair(number, 64, 32).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// An archive like the public ones.
pub fn facades(version: u32) -> Vec<u8> {
    packed(&[
        entry("./facades/", EntryType::Directory, "", b""),
        entry("facades/train/", EntryType::Directory, "", b""),
        file("facades/train/1.png", &png(version)),
        file("facades/train/2.png", &png(version + 1)),
        file("facades/val/1.png", &png(version + 2)),
    ])
}

pub fn fetch(server: &Server) -> String {
    format!("data fetch facades --url {}", server.url("/facades.tar.gz"))
}

pub fn assert_fetched(scene: &Scene, version: u32) {
    assert_eq!(scene.names("data"), ["facades", "fetched.toml"]);
    assert_eq!(scene.names("data/facades"), ["train", "val"]);
    assert_eq!(fs::read(scene.path("data/facades/train/2.png")).unwrap(), png(version + 1));
    assert_eq!(fs::read(scene.path("data/facades/val/1.png")).unwrap(), png(version + 2));
}

/// A server of one version of the archive, with an entity tag.
fn steady(archive: Vec<u8>) -> Server {
    Server::start(move |request| Reply::file(request, &archive, "\"one\""))
}

pub fn range(request: &Request) -> Option<&str> {
    request.headers.get("range").map(String::as_str)
}

#[test]
fn an_archive_becomes_a_folder_to_train_on() {
    let scene = scene();
    let server = steady(facades(0));
    let said = scene.run(&fetch(&server));
    assert!(said.stdout.starts_with("Fetched facades into data/facades: 2 in train/, 1 in val/\n"), "{}", said.stdout);
    assert!(said.stdout.ends_with("  pixtape train --data data/facades --direction b-to-a\n"), "{}", said.stdout);
    assert_fetched(&scene, 0);
    let [request] = server.requests().try_into().unwrap();
    assert_eq!((request.path.as_str(), range(&request)), ("/facades.tar.gz", None));
    scene.run(&format!("train --data data/facades {TINY} --steps 1 --out run"));

    // An existing folder is kept.
    refused(&scene, &fetch(&server), &["data/facades is already there"]);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_broken_connection_goes_on_where_it_broke() {
    let scene = scene();
    let archive = facades(0);
    let half = archive.len() / 2;
    let server = Server::start(move |request| {
        let reply = Reply::file(request, &archive, "\"one\"");
        if request.number == 0 { reply.cut(half) } else { reply }
    });
    let said = scene.run(&fetch(&server));
    assert!(said.stderr.contains("trying again"), "{}", said.stderr);
    assert_fetched(&scene, 0);
    let [_, second] = server.requests().try_into().unwrap();
    assert_eq!(range(&second), Some(format!("bytes={half}-").as_str()));
    assert_eq!(second.headers["if-range"], "\"one\"");
}

#[test]
fn a_later_command_goes_on_as_well() {
    let scene = scene();
    let archive = facades(0);
    let half = archive.len() / 2;
    let server = Server::start(move |request| match request.number {
        0 => Reply::file(request, &archive, "\"one\"").cut(half),
        1 => Reply::status("403 Forbidden"),
        _ => Reply::file(request, &archive, "\"one\""),
    });
    let said = scene.command(&fetch(&server)).assert().code(1);
    assert!(String::from_utf8_lossy(&said.get_output().stderr).contains("403 Forbidden"));
    assert_eq!(scene.names("data"), ["facades.tar.gz.part", "facades.tar.gz.part.toml"]);
    scene.run(&fetch(&server));
    assert_fetched(&scene, 0);
    assert_eq!(range(&server.requests()[2]), Some(format!("bytes={half}-").as_str()));
}

#[test]
fn a_file_that_changed_in_between_is_taken_whole() {
    let scene = scene();
    let (old, new) = (facades(0), facades(3));
    let half = old.len() / 2;
    let server = Server::start(move |request| match request.number {
        0 => Reply::file(request, &old, "\"old\"").cut(half),
        _ => Reply::file(request, &new, "\"new\""),
    });
    scene.run(&fetch(&server));
    assert_fetched(&scene, 3);
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_server_without_ranges_or_versions_sends_all_of_it_again() {
    for headers in [&[("ETag", "\"one\"")][..], &[("ETag", "W/\"one\"")], &[]] {
        let scene = scene();
        let archive = facades(0);
        let half = archive.len() / 2;
        let server = Server::start(move |request| {
            let mut reply = Reply::whole(&archive);
            for (name, value) in headers {
                reply = reply.with(name, *value);
            }
            if request.number == 0 { reply.cut(half) } else { reply }
        });
        scene.run(&fetch(&server));
        assert_fetched(&scene, 0);
        // Without an entity tag or a date, a download cannot be resumed.
        let is_resumable = headers.first().is_some_and(|(_, tag)| !tag.starts_with('W'));
        assert_eq!(range(&server.requests()[1]).is_some(), is_resumable);
    }
}

#[test]
fn redirects_are_followed_and_busy_servers_asked_again() {
    let scene = scene();
    let archive = facades(0);
    let server = Server::start(move |request| match request.number {
        0 => Reply::status("302 Found").with("Location", "/elsewhere/facades.tgz"),
        1 => Reply::status("503 Service Unavailable"),
        2 => Reply::status("302 Found").with("Location", "/elsewhere/facades.tgz"),
        _ => Reply::file(request, &archive, "\"one\""),
    });
    scene.run(&fetch(&server));
    assert_fetched(&scene, 0);
    let paths: Vec<String> = server.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths[1], "/elsewhere/facades.tgz");
    assert_eq!(paths.len(), 4);
}

#[test]
fn what_the_server_does_not_have_is_said_at_once() {
    let scene = scene();
    let server = Server::start(|_| Reply::status("404 Not Found"));
    refused(&scene, &fetch(&server), &[&server.url("/facades.tar.gz"), "404 Not Found", "--url"]);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_server_that_is_gone_is_given_up() {
    let scene = scene();
    // No server listens at a port that no test is given.
    let said = scene.command("data fetch facades --url http://127.0.0.1:1/facades.tar.gz").assert().code(1);
    let stderr = String::from_utf8_lossy(&said.get_output().stderr).into_owned();
    let last = stderr.lines().last().unwrap();
    assert!(last.starts_with("error: cannot download http://") && last.contains("5 attempts"), "{stderr}");
    assert_eq!(stderr.lines().count(), 5, "{stderr}");
    assert!(!scene.path("data").exists());
}

#[test]
fn another_archive_than_the_first_time_is_refused_until_it_is_asked_for() {
    let scene = scene();
    let server = Server::start(|request| match request.number {
        0 => Reply::file(request, &facades(0), "\"old\""),
        _ => Reply::file(request, &facades(3), "\"new\""),
    });
    let sum = |said: &str| said.lines().find_map(|line| line.strip_prefix("  SHA-256 ")).unwrap().to_owned();
    let old = sum(&scene.run(&fetch(&server)).stdout);
    assert_eq!(old.len(), 64);
    let recorded = fs::read_to_string(scene.path("data/fetched.toml")).unwrap();
    assert!(recorded.contains("[facades]") && recorded.contains(&old) && recorded.contains(&server.url("")));

    fs::remove_dir_all(scene.path("data/facades")).unwrap();
    let said = scene.command(&fetch(&server)).assert().code(1);
    let error = String::from_utf8_lossy(&said.get_output().stderr).into_owned();
    assert!(error.contains(&old) && error.contains("data/fetched.toml"), "{error}");
    assert!(!scene.path("data/facades").exists());
    assert_eq!(fs::read_to_string(scene.path("data/fetched.toml")).unwrap(), recorded);

    // The message names the sum to trust, and the archive is not downloaded again.
    let new = error.split("SHA-256 ").nth(1).unwrap().split(',').next().unwrap();
    let said = scene.run(&format!("{} --sha256 {}", fetch(&server), new.to_uppercase()));
    assert_eq!(sum(&said.stdout), new);
    assert_fetched(&scene, 3);
    assert_eq!(range(&server.requests()[2]), Some(format!("bytes={}-", facades(3).len()).as_str()));
    assert!(fs::read_to_string(scene.path("data/fetched.toml")).unwrap().contains(new));
}

#[test]
fn what_another_command_recorded_meanwhile_stays_recorded() {
    let scene = scene();
    let (archive, records) = (facades(0), scene.path("data/fetched.toml"));
    let other = "[maps]\nurl = \"http://127.0.0.1/maps.tar.gz\"\nbytes = 7\nsha256 = \"07\"\n";
    let server = Server::start(move |request| {
        fs::create_dir_all(records.parent().unwrap()).unwrap();
        fs::write(&records, other).unwrap();
        Reply::file(request, &archive, "\"one\"")
    });
    scene.run(&fetch(&server));
    let recorded = fs::read_to_string(scene.path("data/fetched.toml")).unwrap();
    assert!(recorded.contains("[facades]") && recorded.contains(other.trim_end()), "{recorded}");
}

#[test]
fn the_sum_that_is_asked_for_is_the_only_one_taken() {
    let scene = scene();
    let server = steady(facades(0));
    let wrong = "0123456789abcdef".repeat(4);
    let said = scene.command(&format!("{} --sha256 {wrong}", fetch(&server))).assert().code(1);
    let error = String::from_utf8_lossy(&said.get_output().stderr).into_owned();
    assert!(error.contains(&wrong) && error.contains("facades.tar.gz.part"), "{error}");
    assert!(!scene.path("data/facades").exists() && !scene.path("data/fetched.toml").exists());
    refused(&scene, &format!("{} --sha256 123", fetch(&server)), &["--sha256 123", "64 hexadecimal digits"]);
}

/// Asserts that an archive is refused with all `words`, and that only an empty folder is left.
#[track_caller]
fn refused_archive(archive: Vec<u8>, words: &[&str]) {
    let scene = scene();
    scene.write("safe.txt", "as it was");
    let server = steady(archive);
    let said = scene.command(&fetch(&server)).assert().code(1);
    let error = String::from_utf8_lossy(&said.get_output().stderr).into_owned();
    assert!(words.iter().all(|word| error.contains(word)), "{words:?}: {error}");
    assert_eq!(scene.names("."), ["data", "safe.txt"]);
    assert_eq!(scene.names("data"), [""; 0]);
    assert_eq!(fs::read_to_string(scene.path("safe.txt")).unwrap(), "as it was");
}

#[test]
fn archives_that_are_not_whole_leave_nothing() {
    let whole = facades(0);
    refused_archive(whole[..whole.len() / 2].to_vec(), &["facades.tar.gz: ", "cut short"]);
    // Only the checksum is missing.
    refused_archive(whole[..whole.len() - 4].to_vec(), &["cut short"]);
    let mut changed = whole.clone();
    let last = changed.len() - 6;
    changed[last] ^= 1;
    refused_archive(changed, &["no whole .tar.gz"]);
    refused_archive(b"<html>Please log in</html>".to_vec(), &["no whole .tar.gz"]);
    refused_archive(packed(&[]), &["no pictures"]);
    refused_archive(packed(&[file("facades/readme.txt", b"hello")]), &["no pictures"]);
    refused_archive(packed(&[file("a.png", &png(0)), file("./a.png", &png(1))]), &["a.png twice"]);
}

#[test]
fn hostile_archives_are_refused_by_the_name_of_the_entry() {
    let good = file("facades/train/1.png", &png(0));
    let outside = std::env::temp_dir().join("pixtape-hostile-entry.txt");
    let outside = outside.to_str().unwrap();
    for name in ["../safe.txt", "facades/../../safe.txt", "facades/train/../../../safe.txt", outside] {
        refused_archive(packed(&[good.clone(), file(name, b"changed")]), &[name, "leads out of its folder"]);
        refused_archive(packed(&[good.clone(), entry(name, EntryType::Directory, "", b"")]), &[name, "leads out"]);
    }
    assert!(!std::path::Path::new(outside).exists());
    let link = |kind, to| entry("facades/link", kind, to, b"");
    for kind in [EntryType::Symlink, EntryType::Link] {
        for to in ["../..", "/etc", "train/1.png"] {
            let through = file("facades/link/safe.txt", b"changed");
            refused_archive(packed(&[good.clone(), link(kind, to), through]), &["facades/link is a link"]);
        }
    }
    for kind in [EntryType::Fifo, EntryType::Char, EntryType::Block] {
        refused_archive(packed(&[good.clone(), link(kind, "")]), &["facades/link is neither a file nor a folder"]);
    }
}

#[test]
fn names_and_addresses_that_make_no_sense() {
    let scene = scene();
    refused(&scene, "data fetch horses", &["no data set `horses`", "facades, maps, cityscapes, edges2shoes"]);
    for name in ["../x", "a/b", ".hidden", ".."] {
        refused(&scene, &format!("data fetch {name} --url http://127.0.0.1:9/x.tar.gz"), &["no name for a folder"]);
    }
    refused(&scene, "data fetch facades --url ftp://127.0.0.1/x.tar.gz", &["ftp://127.0.0.1", "https://"]);
    scene.write("data/fetched.toml", "no table");
    refused(
        &scene,
        "data fetch facades --url http://127.0.0.1:9/x.tar.gz",
        &["data/fetched.toml cannot be understood"],
    );
}

#[test]
fn the_list_says_what_there_is() {
    let said = scene().run("data fetch");
    for name in ["facades", "maps", "cityscapes", "edges2shoes", "edges2handbags", "night2day"] {
        assert!(said.stdout.contains(name), "{name}: {}", said.stdout);
    }
    assert!(said.stdout.lines().all(|line| line.len() <= 120), "{}", said.stdout);
}

/// A data set of one's own, from a folder of another name, by a server that does not say how much it sends.
#[test]
fn any_archive_can_be_fetched_under_a_name() {
    let scene = scene();
    // The pairs are in a folder of another name, in none, and in one that holds a folder of its own name.
    let cases = [("outer/train/1.png", "outer/train"), ("train/1.png", "train"), ("1.png", "deep"), ("x/1.png", "x/x")];
    for (number, (picture, deep)) in cases.into_iter().enumerate() {
        let archive = packed(&[file(picture, &png(0)), file(&format!("{deep}/deep.txt"), b"text")]);
        let server = Server::start(move |_| Reply::whole(&archive).without_length());
        let said = scene.run(&format!("data fetch mine{number} --out sets --url {}", server.url("/x")));
        assert!(said.stdout.contains(&format!("pixtape train --data sets/mine{number}")), "{}", said.stdout);
        scene.run(&format!("data check sets/mine{number} --image-size 32"));
    }
    assert_eq!(scene.names("sets"), ["fetched.toml", "mine0", "mine1", "mine2", "mine3"]);
    assert_eq!(scene.names("sets/mine0"), ["train"]);
    assert_eq!(scene.names("sets/mine0/train"), ["1.png", "deep.txt"]);
    assert_eq!(scene.names("sets/mine3"), ["1.png", "x"]);
}
