//! `pixtape data fetch` from servers and archives without end, that change during a download, or that fail for good.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tar::EntryType;

use super::super::scene::Scene;
use super::fetch::{assert_fetched, entry, facades, fetch, file, packed, png, range, scene};
use super::refused;
use super::server::{Reply, Server};

/// Runs a command that has to fail, and returns the last line of its output. It may leave files.
fn failed(scene: &Scene, line: &str) -> String {
    let said = scene.command(line).assert().code(1);
    let stderr = String::from_utf8_lossy(&said.get_output().stderr).into_owned();
    assert!(!stderr.contains("trying again"), "{stderr}");
    stderr.lines().last().unwrap_or_default().to_owned()
}

#[track_caller]
fn assert_holds(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word} is missing: {text}");
    }
}

/// The new archive is as long as the old one but for the second case.
#[test]
fn a_part_of_another_version_starts_over() {
    let old = facades(0);
    let longer = packed(&[file("facades/train/1.png", &png(3)), file("facades/train/2.png", &png(4)), vec![7; 65536]]);
    assert_ne!(old.len(), longer.len());
    let tagged = [("ETag", "\"old\"", "\"new\""), ("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT", "today")];
    let same_tag = [("ETag", "\"old\"", "\"old\""), ("X-Nothing", "", "")];
    for (number, (header, before, after)) in tagged.into_iter().chain(same_tag).enumerate() {
        let scene = scene();
        let (old, half) = (old.clone(), old.len() / 2);
        let new = facades(3);
        let longer = longer.clone();
        let server = Server::start(move |request| match request.number {
            0 if number == 3 => Reply::whole(&old).with("ETag", "\"old\"").cut(half),
            0 => Reply::whole(&old).with(header, before).cut(half),
            // A server that ignores If-Range.
            1 if number < 2 => Reply::part(request, &new).with(header, after),
            1 => Reply::part(request, &longer).with(header, after),
            _ => Reply::part(request, &new).with(header, after),
        });
        let said = scene.run(&fetch(&server));
        assert_holds(&said.stderr, &["the server has another file by now", "the download starts over"]);
        assert_fetched(&scene, 3);
        let requests = server.requests();
        assert_eq!(requests.iter().map(|request| range(request).is_some()).collect::<Vec<_>>(), [false, true, false]);
    }
}

/// All of the old one had arrived, and the new one is not longer.
#[test]
fn a_whole_of_another_version_starts_over() {
    let scene = scene();
    let (old, new) = (facades(0), facades(3));
    let length = old.len();
    let server = Server::start(move |request| match request.number {
        0 => Reply::whole(&old).with("ETag", "\"old\""),
        1 => Reply::status("416 Range Not Satisfiable")
            .with("Content-Range", format!("bytes */{length}"))
            .with("ETag", "\"new\""),
        _ => Reply::part(request, &new).with("ETag", "\"new\""),
    });
    // Stopped between download and unpacking.
    failed(&scene, &format!("{} --sha256 {}", fetch(&server), "0".repeat(64)));
    let said = scene.run(&fetch(&server));
    assert_holds(&said.stderr, &["the server has another file by now"]);
    assert_fetched(&scene, 3);
}

/// Mirrors behind one address, each with a version of its own, whose connections break.
#[test]
fn a_download_does_not_start_over_for_ever() {
    let scene = scene();
    let archive = facades(0);
    let server = Server::start(move |request| {
        Reply::part(request, &archive).cut(100).with("ETag", format!("\"{}\"", request.number))
    });
    let said = scene.command(&fetch(&server)).assert().code(1);
    let error = String::from_utf8_lossy(&said.get_output().stderr).into_owned();
    assert_holds(&error, &["cannot download", "the server has another file by now (5 times", "--url"]);
}

#[test]
fn a_download_is_bounded_before_it_begins_where_its_size_is_said() {
    let scene = scene();
    let server = Server::start(|_| Reply::whole(&[0; 4096]));
    let words = ["the archive has 4096 bytes", "the bound is 2048 bytes", "--max-download SIZE"];
    refused(&scene, &format!("{} --max-download 2K", fetch(&server)), &words);
    assert_eq!(server.requests().len(), 1);

    // A known data set, and another one.
    let server = Server::start(|_| Reply::status("200 OK").without_length().with("Content-Length", "99000000000"));
    refused(&scene, &fetch(&server), &["92.2 GiB", "the bound is 108 MiB", "--max-download"]);
    let line = format!("data fetch mine --url {}", server.url("/x"));
    refused(&scene, &line, &["92.2 GiB", "the bound is 20.0 GiB", "--max-download"]);
    refused_by_the_parser(&scene, &format!("{line} --max-download 20GB"), "'20GB' is no size");
}

/// Errors of the command line's parser have an exit status of their own.
fn refused_by_the_parser(scene: &Scene, line: &str, words: &str) {
    let said = scene.command(line).assert().code(2);
    assert_holds(&String::from_utf8_lossy(&said.get_output().stderr), &[words]);
}

#[test]
fn a_download_without_end_stops_at_its_bound_and_goes_on_with_a_higher_one() {
    let scene = scene();
    let archive = facades(0);
    let server = Server::start(move |request| {
        let reply = Reply::file(request, &archive, "\"one\"");
        if request.number == 0 { reply.without_length() } else { reply }
    });
    let error = failed(&scene, &format!("{} --max-download 300", fetch(&server)));
    assert_holds(&error, &["the archive is larger", "the bound is 300 bytes", "--max-download SIZE"]);
    assert_eq!(fs::metadata(scene.path("data/facades.tar.gz.part")).unwrap().len(), 300);
    scene.run(&fetch(&server));
    assert_fetched(&scene, 0);
    assert_eq!(range(&server.requests()[1]), Some("bytes=300-"));
}

/// Asserts that an archive is refused at a bound of a mebibyte, that nothing is unpacked, and that the download is
/// kept.
#[track_caller]
fn refused_at_a_mebibyte(archive: Vec<u8>) -> (Scene, Server) {
    let scene = scene();
    let server = Server::start(move |request| Reply::file(request, &archive, "\"one\""));
    let error = failed(&scene, &format!("{} --max-unpacked 1M", fetch(&server)));
    assert_holds(&error, &["it unpacks to more than 1 MiB", "--max-unpacked SIZE", "facades.tar.gz.part"]);
    assert_eq!(scene.names("data"), ["facades.tar.gz.part", "facades.tar.gz.part.toml"]);
    (scene, server)
}

#[test]
fn an_archive_that_unpacks_to_too_much_is_refused_and_kept() {
    let picture = file("facades/train/1.png", &png(0));
    let (scene, server) = refused_at_a_mebibyte(packed(&[picture.clone(), file("facades/bomb", &[0; 8 << 20])]));
    scene.run(&format!("{} --max-unpacked 20M", fetch(&server)));
    assert_eq!(scene.names("data/facades"), ["bomb", "train"]);
    assert_eq!(range(&server.requests()[1]).map(|range| range.ends_with('-')), Some(true));

    // Empty files and folders take space as well, and so does what stands behind the last entry.
    let empty = |number: u32| file(&format!("facades/{number}"), b"");
    refused_at_a_mebibyte(packed(&(0..300).map(empty).collect::<Vec<_>>()));
    let folder = |number: u32| entry(&format!("facades/{number}/"), EntryType::Directory, "", b"");
    refused_at_a_mebibyte(packed(&(0..300).map(folder).collect::<Vec<_>>()));
    refused_at_a_mebibyte(packed(&[picture.clone(), vec![0; 8 << 20]]));
}

/// Long names and pax headers are read into memory.
#[test]
fn a_name_without_end_is_refused() {
    for kind in [EntryType::GNULongName, EntryType::XHeader] {
        let scene = scene();
        let archive = packed(&[entry("facades/name", kind, "", &[b'a'; 3 << 20]), file("facades/1.png", &png(0))]);
        let server = Server::start(move |request| Reply::file(request, &archive, "\"one\""));
        assert_holds(&failed(&scene, &fetch(&server)), &["an entry has a name of more than 1 MiB"]);
        assert_eq!(scene.names("data"), [""; 0]);
    }
}

/// An entry of a large declared size is not begun, for a known data set and for another.
#[test]
fn the_bounds_without_a_flag_are_the_archives() {
    for (name, bound) in [("facades", "314 MiB"), ("mine", "1.0 GiB")] {
        let scene = scene();
        let mut large = file("facades/large", b"");
        let mut header = tar::Header::from_byte_slice(&large).clone();
        header.set_size(3 << 30);
        header.set_cksum();
        large = header.as_bytes().to_vec();
        let archive = packed(&[file("facades/train/1.png", &png(0)), large]);
        let server = Server::start(move |request| Reply::file(request, &archive, "\"one\""));
        let error = failed(&scene, &format!("data fetch {name} --url {}", server.url("/x")));
        assert_holds(&error, &[&format!("it unpacks to more than {bound}"), "--max-unpacked SIZE"]);
    }
}

#[test]
fn what_another_attempt_cannot_mend_ends_at_once() {
    let scene = scene();
    // A server that does not speak TLS.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            count.fetch_add(1, Ordering::SeqCst);
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let line = format!("data fetch facades --url https://{address}/facades.tar.gz");
    refused(&scene, &line, &["cannot download https://", "another attempt would not help"]);
    assert_eq!(connections.load(Ordering::SeqCst), 1);

    let circle = Server::start(|_| Reply::status("302 Found").with("Location", "/again"));
    refused(&scene, &fetch(&circle), &["too many redirects", "another attempt would not help"]);
    let elsewhere = Server::start(|_| Reply::status("302 Found").with("Location", "ftp://127.0.0.1/x"));
    refused(&scene, &fetch(&elsewhere), &["another attempt would not help"]);
    assert_eq!(elsewhere.requests().len(), 1);
    refused(&scene, "data fetch facades --url http://", &["cannot download http://"]);
}

/// A limit on the size of a file simulates a full disk.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_what_can_be_gone_on_with() {
    let scene = scene();
    let archive = facades(0);
    let length = archive.len();
    assert!(length > 1024);
    let server = Server::start(move |request| Reply::file(request, &archive, "\"one\""));
    let script = "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\"";
    let program = scene.command("").get_program().to_owned();
    let mut command = std::process::Command::new("sh");
    command.current_dir(scene.path(".")).env("NO_PROXY", "127.0.0.1").args(["-c", script]).arg(program);
    let output = command.args(fetch(&server).split_whitespace()).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(error.lines().count(), 1, "{error}");
    assert_holds(&error, &["cannot write data/facades.tar.gz.part", "the same command goes on from there"]);
    let kept = fs::metadata(scene.path("data/facades.tar.gz.part")).unwrap().len();
    assert!((1..length as u64).contains(&kept), "{kept}");
    scene.run(&fetch(&server));
    assert_fetched(&scene, 0);
    assert_eq!(range(&server.requests()[1]), Some(&*format!("bytes={kept}-")));
}
