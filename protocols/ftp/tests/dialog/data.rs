//! Data connections: how they open and whose they must be, transfers and how they break.

use dialog::Spoken;
use std::time::Duration;

use protocol::Closed;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use crate::client::Client;
use crate::world::World;

#[tokio::test]
async fn files_go_both_ways_under_either_version_of_tls() {
    let world = World::new().await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut client = Client::connect_with(&world, "", version).await;
        client.log_in("alice").await;
        let content: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
        for round in 0..4 {
            let content = &content[round..];
            let reply = client.put("STOR big", content).await;
            assert!(reply.starts_with(&format!("226 {} bytes", content.len())), "{reply}");
            assert!(client.get("RETR big").await == content);
        }
        assert!(client.put("STOR empty", b"").await.starts_with("226 "));
        assert_eq!(client.get("RETR empty").await, b"");
        client
            .dialog(&[("EPSV", "229 "), ("RETR nowhere", "550 "), ("STOR /nowhere/x", "550 "), ("STOR /", "55")])
            .await;
    }
}

#[tokio::test]
async fn transfers_begin_anywhere_append_and_find_names() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world, "alice").await;
    client.put("STOR f", b"0123456789").await;
    client.dialog(&[("REST 4", "350 "), ("TYPE I", "200 ")]).await;
    assert_eq!(client.get("RETR f").await, b"456789");
    assert_eq!(client.get("RETR f").await, b"0123456789", "REST holds once");
    client.dialog(&[("REST 5", "350 ")]).await;
    assert!(client.put("STOR f", b"XYZ").await.starts_with("226 8 bytes"));
    assert!(client.put("APPE f", b"!").await.starts_with("226 9 bytes"));
    assert!(client.put("APPE new", b"!").await.starts_with("226 1 bytes"));
    assert_eq!(client.get("RETR f").await, b"01234XYZ!");
    client.dialog(&[("REST 10", "350 "), ("EPSV", "229 "), ("RETR f", "554 "), ("REST -1", "501 ")]).await;
    client.dialog(&[("REST 10", "350 "), ("EPSV", "229 "), ("STOR f", "55")]).await;
    let port = client.port().await;
    client.send("STOU\r\n").await;
    let name = client.expect("150 FILE: ").await["150 FILE: ".len()..].trim_end().to_owned();
    let mut data = client.data(port).await;
    data.write_all(b"unique").await.unwrap();
    data.shutdown().await.unwrap();
    client.expect("226 ").await;
    assert_eq!(client.get(&format!("RETR {name}")).await, b"unique");
}

#[tokio::test]
async fn folders_are_listed_in_every_form() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world, "alice").await;
    client.dialog(&[("MKD many", "257 "), ("CWD many", "250 ")]).await;
    for number in 0..600 {
        client.send(format!("MKD d{number:03}\r\n")).await;
    }
    for _ in 0..600 {
        client.expect("257 ").await;
    }
    let names = client.get("NLST").await;
    let expected: String = (0..600).map(|number| format!("d{number:03}\r\n")).collect();
    assert_eq!(String::from_utf8(names).unwrap(), expected);
    client.put("STOR d600 ä", b"hello").await;
    client.dialog(&[("MFMT 20200102030405 d600 ä", "213 "), ("OPTS MLST type;size;modify;", "200 ")]).await;
    let list = String::from_utf8(client.get("LIST -la").await).unwrap();
    assert_eq!(list.lines().count(), 601);
    let last = list.lines().last().unwrap();
    assert!(last.starts_with("-rw-------   1 ") && last.ends_with("  5 Jan  2  2020 d600 ä"), "{last}");
    assert!(list.starts_with("drwx------   1 "), "{list}");
    let facts = String::from_utf8(client.get("MLSD /many").await).unwrap();
    assert!(facts.ends_with("\r\ntype=file;size=5;modify=20200102030405; d600 ä\r\n"));
    assert_eq!(client.get("NLST d60*").await, "d600 ä\r\n".as_bytes());
    assert_eq!(client.get("NLST /many/d?0?").await.len(), 60 * "/many/d000\r\n".len());
    client.dialog(&[("EPSV", "229 "), ("MLSD d600 ä", "501 "), ("EPSV", "229 "), ("LIST nowhere", "550 ")]).await;
}

#[tokio::test]
async fn a_data_connection_that_does_not_resume_is_refused() {
    let world = World::new().await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for (config, outcome) in [("", "522 "), ("data_binding = \"address\"", "226 ")] {
            let mut client = Client::connect_with(&world, config, version).await;
            client.log_in("alice").await;
            let mut other = (**client.tls.config()).clone();
            other.resumption = rustls::client::Resumption::disabled();
            let port = client.port().await;
            client.send("STOR f\r\n").await;
            client.expect("150 ").await;
            let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let mut data = client.secured_by(&TlsConnector::from(std::sync::Arc::new(other)), tcp).await;
            let _ = data.shutdown().await;
            client.expect(outcome).await;
        }
    }
    assert_eq!(world.records("ftp.data", "refused").await, 2);
}

#[tokio::test]
async fn a_stranger_at_the_data_port_is_turned_away() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world, "alice").await;
    let port = client.port().await;
    client.send("STOR f\r\n").await;
    client.expect("150 ").await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut stranger = socket.connect(([127, 0, 0, 1], port).into()).await.unwrap();
    assert_eq!(stranger.read(&mut [0; 1]).await.unwrap_or(0), 0, "the stranger gets nothing");
    let mut data = client.data(port).await;
    data.write_all(b"mine").await.unwrap();
    data.shutdown().await.unwrap();
    client.expect("226 ").await;
}

#[tokio::test]
async fn active_connections_go_to_the_client_alone() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world, "alice").await;
    client.put("STOR f", b"active").await;
    client
        .dialog(&[
            ("PORT 127,0,0,2,100,1", "501 "),
            ("EPRT |1|192.0.2.1|5000|", "501 "),
            ("PORT 127,0,0,1,0,22", "501 "),
            ("PORT 1,2,3", "501 "),
            ("EPRT |3|x|5000|", "522 "),
            ("RETR f", "425 "),
        ])
        .await;
    assert_eq!(world.records("ftp.port", "refused").await, 3);
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let targets = [format!("EPRT |1|127.0.0.1|{port}|"), format!("PORT 127,0,0,1,{},{}", port >> 8, port & 255)];
    for target in targets {
        client.dialog(&[(&target, "200 "), ("RETR f", "150 ")]).await;
        let (tcp, _) = socket.accept().await.unwrap();
        let (mut data, mut content) = (client.secured(tcp).await, Vec::new());
        data.read_to_end(&mut content).await.unwrap();
        client.expect("226 ").await;
        assert_eq!(content, b"active");
    }
    client.dialog(&[("EPSV 2", "522 "), ("EPSV 1", "229 "), ("EPSV ALL", "200 "), ("PASV", "503 ")]).await;
    client.dialog(&[("PORT 127,0,0,1,100,1", "503 "), ("EPSV", "229 ")]).await;
}

#[tokio::test]
async fn a_broken_upload_leaves_nothing_behind() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world, "alice").await;
    client.put("STOR kept", b"old").await;
    for name in ["new", "kept"] {
        let port = client.port().await;
        client.send(format!("STOR {name}\r\n")).await;
        client.expect("150 ").await;
        let mut data = client.data(port).await;
        data.write_all(&[7; 100_000]).await.unwrap();
        data.flush().await.unwrap();
        // The end of TCP without TLS's close_notify: nobody knows whether that was all.
        drop(data);
        client.expect("426 ").await;
    }
    client.dialog(&[("SIZE new", "550 "), ("SIZE kept", "213 3\r\n")]).await;
    let mut full = Client::logged_in(&world, "full").await;
    let reply = full.put("STOR big", &[7; 3000]).await;
    assert!(reply.starts_with("552 "), "{reply}");
    full.dialog(&[("SIZE big", "550 ")]).await;
}

#[tokio::test]
async fn a_transfer_can_be_aborted_and_what_is_pipelined_waits_for_its_end() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world, "alice").await;
    for abort in [&b"ABOR\r\n"[..], b"\xff\xf4\xff\xf2ABOR\r\n"] {
        let port = client.port().await;
        client.send("STOR f\r\n").await;
        client.expect("150 ").await;
        let mut data = client.data(port).await;
        data.write_all(b"half").await.unwrap();
        client.send(abort).await;
        client.expect("426 ").await;
        client.expect("226 ").await;
        client.dialog(&[("ABOR", "226 "), ("SIZE f", "550 ")]).await;
    }
    let port = client.port().await;
    client.send("STOR f\r\nNOOP\r\nSIZE f\r\nQUIT\r\n").await;
    client.expect("150 ").await;
    let mut data = client.data(port).await;
    client.send("STAT\r\n").await;
    client.expect("211 ").await;
    data.write_all(b"whole").await.unwrap();
    data.shutdown().await.unwrap();
    for prefix in ["226 ", "200 ", "213 5\r\n", "221 "] {
        client.expect(prefix).await;
    }
    assert_eq!(client.ended().await, Closed::Quit);
}

#[tokio::test]
async fn a_drain_lets_a_transfer_end_and_a_lost_client_ends_it() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world, "alice").await;
    let port = client.port().await;
    client.send("STOR f\r\n").await;
    client.expect("150 ").await;
    let mut data = client.data(port).await;
    client.stop.trigger();
    tokio::time::sleep(Duration::from_millis(50)).await;
    data.write_all(b"whole").await.unwrap();
    data.shutdown().await.unwrap();
    client.expect("226 ").await;
    client.expect("421 ").await;
    assert_eq!(client.ended().await, Closed::Shutdown);
    let mut client = Client::logged_in(&world, "alice").await;
    assert_eq!(client.get("RETR f").await, b"whole");
    let port = client.port().await;
    client.send("STOR g\r\n").await;
    client.expect("150 ").await;
    let _data = client.data(port).await;
    assert_eq!(client.vanish().await, Closed::Lost);
}
