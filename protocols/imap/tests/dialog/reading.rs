//! FETCH of every item and section.

use crate::client::Client;
use crate::world::World;

/// A message with two alternatives, one of them encoded, and another message in it.
const LETTER: &str = "From: \"Ann\" <ann@example.org>^\
    To: bob@example.org, Team: c@example.org, d@example.org;^\
    Cc: ^\
    Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=^\
    Date: Wed, 17 Jul 1996 02:23:25 -0700^\
    Message-ID: <1@example.org>^\
    In-Reply-To: <0@example.org>^\
    MIME-Version: 1.0^\
    Content-Type: multipart/mixed; boundary=\"b\"^^\
    preamble^\
    --b^\
    Content-Type: text/plain; charset=utf-8^\
    Content-Transfer-Encoding: quoted-printable^\
    Content-Disposition: attachment; filename=a.txt^\
    Content-Language: de, en^^\
    Gr=C3=BC=C3=9Fe^\
    --b^\
    Content-Type: message/rfc822^^\
    Subject: inner^\
    From: eve@example.org^^\
    hello^\
    --b^\
    Content-Type: application/octet-stream^\
    Content-Transfer-Encoding: x-odd^^\
    ??^\
    --b--^";

/// A client with the letter open in INBOX.
async fn reading(world: &World) -> Client {
    let mut client = Client::logged_in(world).await;
    let size = LETTER.replace('^', "\r\n").len();
    let append = format!("> APPEND INBOX \"17-Jul-1996 02:44:25 -0700\" {{{size}+}}^{LETTER}\nOK ...");
    client.script(&append).await;
    client.script("> SELECT INBOX\n...\nOK ...").await;
    client
}

#[tokio::test]
async fn what_is_known_of_a_message() {
    let world = World::new().await;
    let mut client = reading(&world).await;
    // RFC 9051 §7.5.2: groups stand between (NIL NIL name NIL) and (NIL NIL NIL NIL); sender and reply-to are from.
    client
        .script(
            "> FETCH 1 ENVELOPE
             * 1 FETCH (ENVELOPE (\"Wed, 17 Jul 1996 02:23:25 -0700\" \"=?utf-8?Q?Gr=C3=BC=C3=9Fe?=\" \
             ((\"Ann\" NIL \"ann\" \"example.org\")) ((\"Ann\" NIL \"ann\" \"example.org\")) \
             ((\"Ann\" NIL \"ann\" \"example.org\")) ((NIL NIL \"bob\" \"example.org\")(NIL NIL \"Team\" NIL)\
             (NIL NIL \"c\" \"example.org\")(NIL NIL \"d\" \"example.org\")(NIL NIL NIL NIL)) NIL NIL \
             \"<0@example.org>\" \"<1@example.org>\"))
             OK ...
             > FETCH 1 (UID FLAGS INTERNALDATE RFC822.SIZE)
             * 1 FETCH (UID 1 FLAGS (\\Recent) INTERNALDATE \"17-Jul-1996 09:44:25 +0000\" RFC822.SIZE #size)
             OK ...
             > FETCH 1 FAST
             * 1 FETCH (FLAGS (\\Recent) INTERNALDATE \"17-Jul-1996 09:44:25 +0000\" RFC822.SIZE #size)
             OK ...
             > FETCH 1 ALL
             * 1 FETCH (FLAGS (\\Recent) INTERNALDATE ... RFC822.SIZE #size ENVELOPE (...))
             OK ...
             > FETCH 1 FULL
             * 1 FETCH (FLAGS (\\Recent) INTERNALDATE ... RFC822.SIZE #size ENVELOPE (...) BODY (...))
             OK ...
             > FETCH 1 (EMAILID THREADID SAVEDATE)
             * 1 FETCH (EMAILID (#email) THREADID (#thread) SAVEDATE \"...-... +0000\")
             OK ...
             > FETCH 1 PREVIEW
             * 1 FETCH (PREVIEW \"hello\")
             OK ...
             > FETCH 1 (PREVIEW (LAZY))
             * 1 FETCH (PREVIEW \"hello\")
             OK ...
             > FETCH 1 MODSEQ
             * OK [HIGHESTMODSEQ #m] ...
             * 1 FETCH (MODSEQ (#m))
             OK ...
             > UID FETCH 1 FLAGS
             * 1 FETCH (UID 1 FLAGS (\\Recent))
             OK ...
             > UID FETCH 7:9 FLAGS
             OK ...
             > FETCH 2 FLAGS
             BAD ...
             > FETCH 1 (FLAGS UNKNOWN)
             BAD ...",
        )
        .await;
}

#[tokio::test]
async fn the_structure_of_a_message() {
    let world = World::new().await;
    let mut client = reading(&world).await;
    client
        .script(
            "> FETCH 1 BODY
             * 1 FETCH (BODY ((\"text\" \"plain\" (\"charset\" \"utf-8\") NIL NIL \"quoted-printable\" 15 0)\
             (\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 46 (NIL \"inner\" ((NIL NIL \"eve\" \"example.org\")) \
             ((NIL NIL \"eve\" \"example.org\")) ((NIL NIL \"eve\" \"example.org\")) NIL NIL NIL NIL NIL) \
             (\"text\" \"plain\" NIL NIL NIL \"7bit\" 5 0) 3)\
             (\"application\" \"octet-stream\" NIL NIL NIL \"x-odd\" 2) \"mixed\"))
             OK ...
             > FETCH 1 BODYSTRUCTURE
             * 1 FETCH (BODYSTRUCTURE ((\"text\" \"plain\" (\"charset\" \"utf-8\") NIL NIL \"quoted-printable\" 15 0 \
             NIL (\"attachment\" (\"filename\" \"a.txt\")) (\"de\" \"en\") NIL)\
             (\"message\" \"rfc822\" ... 3 NIL NIL NIL NIL)\
             (\"application\" \"octet-stream\" NIL NIL NIL \"x-odd\" 2 NIL NIL NIL NIL) \"mixed\" \
             (\"boundary\" \"b\") NIL NIL NIL))
             OK ...",
        )
        .await;
}

#[tokio::test]
async fn sections_of_a_message() {
    let world = World::new().await;
    let mut client = reading(&world).await;
    // RFC 9051 §6.4.5.1.
    client
        .script(
            "> FETCH 1 BODY.PEEK[1]
             * 1 FETCH (BODY[1] {15}^Gr=C3=BC=C3=9Fe)
             OK ...
             > FETCH 1 BODY.PEEK[1.MIME]
             * 1 FETCH (BODY[1.MIME] {...}^Content-Type: text/plain; charset=utf-8^...^^)
             OK ...
             > FETCH 1 BODY.PEEK[2]
             * 1 FETCH (BODY[2] {46}^Subject: inner^From: eve@example.org^^hello)
             OK ...
             > FETCH 1 BODY.PEEK[2.HEADER]
             * 1 FETCH (BODY[2.HEADER] {41}^Subject: inner^From: eve@example.org^^)
             OK ...
             > FETCH 1 BODY.PEEK[2.HEADER.FIELDS (FROM)]
             * 1 FETCH (BODY[2.HEADER.FIELDS (FROM)] {25}^From: eve@example.org^^)
             OK ...
             > FETCH 1 BODY.PEEK[2.TEXT]
             * 1 FETCH (BODY[2.TEXT] {5}^hello)
             OK ...
             > FETCH 1 BODY.PEEK[2.1]
             * 1 FETCH (BODY[2.1] {5}^hello)
             OK ...
             > FETCH 1 BODY.PEEK[HEADER.FIELDS (Subject Nothing)]
             * 1 FETCH (BODY[HEADER.FIELDS (Subject Nothing)] {40}^Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=^^)
             OK ...
             > FETCH 1 BODY.PEEK[HEADER.FIELDS.NOT (From To Cc Date Message-ID In-Reply-To MIME-Version Content-Type)]
             * 1 FETCH (BODY[HEADER.FIELDS.NOT (...)] {40}^Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=^^)
             OK ...
             > FETCH 1 BODY.PEEK[TEXT]<0.8>
             * 1 FETCH (BODY[TEXT]<0> {8}^preamble)
             OK ...
             > FETCH 1 BODY.PEEK[]<6.5>
             * 1 FETCH (BODY[]<6> {5}^\"Ann\")
             OK ...
             > FETCH 1 BODY.PEEK[]<100000.5>
             * 1 FETCH (BODY[]<100000> {0}^)
             OK ...
             > FETCH 1 BODY.PEEK[]<4294967296.9223372036854775807>
             * 1 FETCH (BODY[]<4294967296> {0}^)
             OK ...
             > FETCH 1 BODY.PEEK[]<0.99999999999999999999>
             BAD ...
             > FETCH 1 BODY.PEEK[4]
             * 1 FETCH (BODY[4] NIL)
             OK ...
             > FETCH 1 BODY.PEEK[1.TEXT]
             * 1 FETCH (BODY[1.TEXT] NIL)
             OK ...
             > FETCH 1 BODY.PEEK[MIME]
             BAD ...
             > FETCH 1 BODY.PEEK[0]
             BAD ...
             > FETCH 1 RFC822.HEADER
             * 1 FETCH (RFC822.HEADER {...}^From: ...^^)
             OK ...
             > FETCH 1 FLAGS
             * 1 FETCH (FLAGS (\\Recent))
             OK ...",
        )
        .await;
}

#[tokio::test]
async fn reading_marks_as_read_and_says_so() {
    let world = World::new().await;
    let mut client = reading(&world).await;
    client
        .script(
            "> FETCH 1 BODY[2.1]
             * 1 FETCH (BODY[2.1] {5}^hello)
             * 1 FETCH (FLAGS (\\Recent \\Seen))
             OK ...
             > FETCH 1 BODY[2.1]
             * 1 FETCH (BODY[2.1] {5}^hello)
             OK ...
             > STORE 1 -FLAGS.SILENT (\\Seen)
             OK ...
             > FETCH 1 BINARY[1]
             * 1 FETCH (BINARY[1] {7}^Gr\u{fc}\u{df}e)
             * 1 FETCH (FLAGS (\\Recent \\Seen))
             OK ...
             > STORE 1 -FLAGS.SILENT (\\Seen)
             OK ...
             > FETCH 1 RFC822.TEXT
             * 1 FETCH (RFC822.TEXT {...}^preamble...)
             * 1 FETCH (FLAGS (\\Recent \\Seen))
             OK ...
             > STORE 1 -FLAGS.SILENT (\\Seen)
             OK ...
             > UID FETCH 1 (BODY[1] BINARY[3])
             NO [UNKNOWN-CTE] ...
             > FETCH 1 FLAGS
             * 1 FETCH (FLAGS (\\Recent))
             OK ...",
        )
        .await;
}

#[tokio::test]
async fn parts_without_their_encoding() {
    let world = World::new().await;
    let mut client = reading(&world).await;
    // RFC 3516 §4.2, §4.3; RFC 9051 §6.4.5: UNKNOWN-CTE, with nothing of the message told.
    client
        .script(
            "> FETCH 1 (BINARY.SIZE[1] BINARY.PEEK[1])
             * 1 FETCH (BINARY.SIZE[1] 7 BINARY[1] {7}^Gr\u{fc}\u{df}e)
             OK ...
             > FETCH 1 BINARY.PEEK[1]<2.2>
             * 1 FETCH (BINARY[1]<2> {2}^\u{fc})
             OK ...
             > FETCH 1 (UID BODY.PEEK[] BINARY.PEEK[3])
             NO [UNKNOWN-CTE] ...
             > FETCH 1 BINARY.SIZE[3]
             NO [UNKNOWN-CTE] ...
             > FETCH 1 BINARY.PEEK[1.MIME]
             BAD ...
             > APPEND INBOX ~{12+}^Subject: ~^
             ...
             OK ...
             > APPEND INBOX ~{21+}^Subject: nul^^a\u{0}b^
             ...
             OK ...
             > FETCH 3 BINARY.PEEK[1]
             * 3 FETCH (BINARY[1] ~{5}^a\u{0}b^)
             OK ...",
        )
        .await;
}

#[tokio::test]
async fn what_was_not_sent_stays_unread() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world).await;
    // More than a batch, and more than the connection holds while nobody reads.
    let message = format!("Subject: x\r\n\r\n{}", "x".repeat(99_986));
    for _ in 0..8 {
        client.send("z APPEND INBOX".to_owned() + &format!(" {{100000+}}\r\n{message}").repeat(30) + "\r\n").await;
        assert!(client.response().await.starts_with("z OK"));
    }
    client.script("> SELECT INBOX\n...\nOK ...\n> SEARCH RETURN (COUNT) UNSEEN\n* ESEARCH ... COUNT 240\nOK ...").await;
    client.send("z FETCH 1:* BODY[]\r\n").await;
    assert!(client.response().await.starts_with("* 1 FETCH (BODY[] {100000}^Subject: x"));
    drop(client);
    let mut client = Client::logged_in(&world).await;
    client
        .script(
            "> SELECT INBOX
             ...
             OK ...
             > SEARCH RETURN (COUNT) UNSEEN
             * ESEARCH ... COUNT 240
             OK ...
             > FETCH 1,240 BODY[]<0.7>
             * 1 FETCH (BODY[]<0> {7}^Subject)
             * 240 FETCH (BODY[]<0> {7}^Subject)
             * 1 FETCH (FLAGS (\\Seen))
             * 240 FETCH (FLAGS (\\Seen))
             OK ...",
        )
        .await;
}

#[tokio::test]
async fn large_parts_and_headers_are_read_in_pieces() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world).await;
    let line = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB^";
    let zeros = line.replace("QUFB", "AAAA");
    let fields: String = (0..9000).map(|at| format!("X-{at}: {}^", "x".repeat(50))).collect();
    for message in
        [format!("Content-Transfer-Encoding: base64^^{}{zeros}", line.repeat(5000)), format!("{fields}Subject: a^ b^^")]
    {
        let size = message.replace('^', "\r\n").len();
        client.script(&format!("> APPEND INBOX {{{size}+}}^{message}\nOK ...")).await;
    }
    let decoded = 5000 * 57;
    let (all, size, last) = ("A".repeat(decoded), decoded + 57, decoded - 2);
    let header = fields.replace('^', "\r\n").len();
    let (whole, end) = (header + 18, header - 2);
    client
        .script(&format!(
            "> SELECT INBOX
             ...
             OK ...
             > FETCH 1 BINARY.SIZE[1]
             * 1 FETCH (BINARY.SIZE[1] {size})
             OK ...
             > FETCH 1 BINARY.PEEK[1]<0.{decoded}>
             * 1 FETCH (BINARY[1]<0> {{{decoded}}}^{all})
             OK ...
             > FETCH 1 BINARY.PEEK[1]<{last}.3>
             * 1 FETCH (BINARY[1]<{last}> ~{{3}}^AA\0)
             OK ...
             > FETCH 1 BINARY.PEEK[1]<200000.3>
             * 1 FETCH (BINARY[1]<200000> {{3}}^AAA)
             OK ...
             > FETCH 1 BINARY.PEEK[1]<900000.3>
             * 1 FETCH (BINARY[1]<900000> {{0}}^)
             OK ...
             > FETCH 2 BODY.PEEK[HEADER.FIELDS (SUBJECT)]
             * 2 FETCH (BODY[HEADER.FIELDS (SUBJECT)] {{18}}^Subject: a^ b^^)
             OK ...
             > FETCH 2 BODY.PEEK[HEADER.FIELDS.NOT (SUBJECT)]<{end}.9>
             * 2 FETCH (BODY[HEADER.FIELDS.NOT (SUBJECT)]<{end}> {{4}}^^^)
             OK ...
             > FETCH 2 BODY.PEEK[HEADER]
             * 2 FETCH (BODY[HEADER] {{{whole}}}^{fields}Subject: a^ b^^)
             OK ..."
        ))
        .await;
}
