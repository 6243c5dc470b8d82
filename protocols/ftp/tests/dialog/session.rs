//! The control connection: TLS, log-in, folders and names, facts, limits.

use auth::Cleartext;
use dialog::Spoken;
use protocol::Closed;

use crate::client::Client;
use crate::world::World;

#[tokio::test]
async fn credentials_are_taken_over_tls_alone() {
    let world = World::new().await;
    let mut client = Client::connect(&world).await;
    client
        .dialog(&[
            ("USER alice", "530 "),
            ("PASS secret-of-alice", "503 "),
            ("PWD", "530 "),
            ("PBSZ 0", "503 "),
            ("PROT P", "503 "),
            ("AUTH KERBEROS_V4", "504 "),
            ("SYST", "215 UNIX"),
        ])
        .await;
    client.start_tls().await;
    client
        .dialog(&[
            ("AUTH TLS", "503 "),
            ("PROT P", "503 "),
            ("PBSZ 0", "200 "),
            ("PROT C", "534 "),
            ("PROT E", "536 "),
            ("PROT P", "200 "),
            ("CCC", "534 "),
            ("USER alice", "331 "),
            ("PASS wrong", "530 "),
            ("PASS secret-of-alice", "503 "),
            ("USER alice", "331 "),
            ("PASS secret-of-alice", "230 "),
            ("PWD", "257 \"/\""),
            ("REIN", "220 "),
            ("PWD", "530 "),
            ("QUIT", "221 "),
        ])
        .await;
    assert_eq!(client.ended().await, Closed::Quit);
    assert_eq!((world.records("auth.login", "done").await, world.records("auth.login", "failed").await), (1, 1));
}

#[tokio::test]
async fn plaintext_behind_auth_ends_the_session_and_is_audited() {
    let world = World::new().await;
    let mut client = Client::connect(&world).await;
    client.send("AUTH TLS\r\nUSER mallory\r\n").await;
    client.expect("421 ").await;
    assert_eq!(client.ended().await, Closed::Abuse);
    assert_eq!(world.records("ftp.auth", "refused").await, 1);
}

#[tokio::test]
async fn without_tls_everything_works_where_the_configuration_allows_it() {
    let world = World::with(Cleartext::Loopback).await;
    let mut client = Client::connect(&world).await;
    client.dialog(&[("USER alice", "331 "), ("PASS secret-of-alice", "230 ")]).await;
    assert!(client.put("STOR a", b"clear").await.starts_with("226 "));
    assert_eq!(client.get("RETR a").await, b"clear");
}

#[tokio::test]
async fn where_cleartext_is_allowed_data_may_go_without_tls() {
    let world = World::with(Cleartext::Loopback).await;
    let mut client = Client::logged_in(&world, "alice").await;
    client.dialog(&[("PROT C", "200 "), ("PASV", "227 Entering Passive Mode (127,0,0,1,")]).await;
    let world = World::new().await;
    let mut client = Client::connect(&world).await;
    client.start_tls().await;
    client.dialog(&[("USER alice", "331 "), ("PASS secret-of-alice", "230 "), ("EPSV", "229 ")]).await;
    client.dialog(&[("LIST", "521 "), ("STOR x", "521 ")]).await;
}

#[tokio::test]
async fn folders_are_made_renamed_and_removed() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world, "alice").await;
    client
        .dialog(&[
            ("MKD a \"b\"", "257 \"/a \"\"b\"\"\""),
            ("MKD a \"b\"", "550 "),
            ("CWD a \"b\"", "250 "),
            ("XMKD deep", "257 \"/a \"\"b\"\"/deep\""),
            ("CWD deep", "250 "),
            ("CDUP", "250 "),
            ("CWD ..", "250 "),
            ("XPWD", "257 \"/\""),
            ("CDUP", "250 "),
            ("CWD nowhere", "550 "),
            ("RNTO x", "503 "),
            ("RNFR nowhere", "550 "),
            ("RNFR a \"b\"", "350 "),
            ("RNTO plain", "250 "),
            ("RNFR plain", "350 "),
            ("NOOP", "200 "),
            ("RNTO other", "503 "),
            ("RMD plain", "550 "),
            ("RMD /plain/deep", "250 "),
            ("DELE plain", "550 "),
            ("RMD plain", "250 "),
            ("RMD /", "550 "),
        ])
        .await;
}

#[tokio::test]
async fn a_file_is_replaced_by_a_file_and_a_folder_by_nothing() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world, "alice").await;
    client.dialog(&[("MKD d", "257 ")]).await;
    for name in ["d/kept", "one", "two"] {
        assert!(client.put(&format!("STOR {name}"), name.as_bytes()).await.starts_with("226 "));
    }
    client.dialog(&[("RNFR one", "350 "), ("RNTO two", "250 "), ("RNFR two", "350 "), ("RNTO d", "550 ")]).await;
    client.dialog(&[("MKD e", "257 "), ("RNFR e", "350 "), ("RNTO d", "550 "), ("SIZE one", "550 ")]).await;
    assert_eq!(client.get("RETR two").await, b"one");
    assert_eq!(client.get("RETR d/kept").await, b"d/kept");
}

#[tokio::test]
async fn paths_outside_the_home_and_control_characters_are_refused() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world, "alice").await;
    client
        .dialog(&[
            ("CWD ../etc", "55"),
            ("MKD a/../b", "55"),
            ("RETR ../../etc/passwd", "55"),
            ("SIZE ..", "55"),
            ("MKD a\0b", "501 "),
            ("MKD a\x07b", "501 "),
            ("MKD a\rb", "501 "),
            ("MKD", "501 "),
            (&format!("MKD {}", "x".repeat(256)), "55"),
        ])
        .await;
    client.send(b"MKD \xc3\x28\r\n").await;
    client.expect("501 ").await;
}

#[tokio::test]
async fn facts_of_a_file_are_told_and_its_time_is_set() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world, "alice").await;
    assert!(client.put("STOR f", b"hello").await.starts_with("226 "));
    let sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    client
        .dialog(&[
            ("SIZE f", "213 5\r\n"),
            ("SIZE /", "550 "),
            ("MFMT 20200102030405 f", "213 Modify=20200102030405; /f\r\n"),
            ("MDTM f", "213 20200102030405\r\n"),
            ("MFMT 20201302030405 f", "501 "),
            ("HASH f", &format!("213 SHA-256 0-5 {sha256} f\r\n")),
            ("OPTS HASH SHA-512", "200 SHA-512"),
            ("HASH f", "213 SHA-512 0-5 9b71d224bd62f3785d96d46ad3ea3d73319bfbc2890caadae2dff72519673ca7"),
            ("OPTS HASH MD5", "501 "),
            ("OPTS MLST size;modify;", "200 MLST OPTS size;modify;"),
            ("MLST f", "250-Listing:\r\n size=5;modify=20200102030405; /f\r\n250 End\r\n"),
            ("STAT f", "213-"),
            ("STAT", "211-"),
            ("OPTS UTF8 ON", "200 "),
            ("SITE HELP", "214 "),
            ("SITE CHMOD 644 f", "202 "),
            ("SITE EXEC ls", "504 "),
            ("ALLO 5", "202 "),
            ("HELP", "214-"),
            ("HELP RETR", "214 RETR path"),
        ])
        .await;
    client.send("FEAT\r\n").await;
    let feat = client.expect("211-").await;
    for feature in ["AUTH TLS", "EPSV", "HASH SHA-256;SHA-512*", "MFMT", "REST STREAM", "MLST type;size*;", "UTF8"] {
        assert!(feat.contains(&format!("\r\n {feature}")), "{feature} in {feat}");
    }
}

#[tokio::test]
async fn long_lines_and_strange_commands_are_borne_for_a_while() {
    let world = World::new().await;
    let mut client = Client::connect(&world).await;
    client.send(vec![b'x'; 1 << 20]).await;
    client.send("\r\nNOOP\r\n\r\nGET / HTTP/1.1\r\n").await;
    for prefix in ["500 ", "200 ", "500 ", "500 "] {
        client.expect(prefix).await;
    }
    client.send("NONSENSE\r\n".repeat(17)).await;
    for _ in 0..16 {
        client.expect("500 ").await;
    }
    client.expect("421 ").await;
    assert_eq!(client.ended().await, Closed::Abuse);
}

#[tokio::test]
async fn failed_log_ins_end_the_session() {
    let world = World::new().await;
    let mut client = Client::connect(&world).await;
    client.start_tls().await;
    for _ in 0..4 {
        client.dialog(&[("USER alice", "331 "), ("PASS guess", "530 ")]).await;
    }
    client.dialog(&[("USER alice", "331 "), ("PASS guess", "421 ")]).await;
    assert_eq!(client.ended().await, Closed::Abuse);
}

#[tokio::test]
async fn silence_and_a_drain_end_the_session_with_a_word() {
    let world = World::new().await;
    let mut client = Client::connect_with(&world, "idle_timeout = 1", &rustls::version::TLS13).await;
    client.expect("421 ").await;
    assert_eq!(client.ended().await, Closed::Idle);
    let mut client = Client::connect(&world).await;
    client.stop.trigger();
    client.expect("421 ").await;
    assert_eq!(client.ended().await, Closed::Shutdown);
    assert_eq!(Client::connect(&world).await.vanish().await, Closed::Quit);
}
