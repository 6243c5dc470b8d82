-- Version 1: accounts, files, mail, blobs, audit.
-- Times are milliseconds since the Unix epoch; sizes are bytes; flags are 0 or 1.

CREATE TABLE accounts (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    name     TEXT   NOT NULL UNIQUE,
    kind     TEXT   NOT NULL,            -- user, or system for the one that counts changes of the whole
    role     TEXT   NOT NULL,            -- user, admin
    quota    BIGINT,                     -- bytes, mail and files together; NULL is without limit
    used     BIGINT NOT NULL DEFAULT 0,
    disabled BIGINT NOT NULL DEFAULT 0,
    removed  BIGINT,                     -- when it was removed; the row stays, for the audit log's sake
    changes  BIGINT NOT NULL DEFAULT 0,  -- the number of its newest change
    root     BIGINT,                     -- the node of its home
    uidvalidity BIGINT NOT NULL DEFAULT 0, -- the newest one given to a mailbox
    created  BIGINT NOT NULL
);
INSERT INTO accounts (id, name, kind, role, created) VALUES (0, '', 'system', 'user', 0);

CREATE TABLE credentials (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    account   BIGINT NOT NULL REFERENCES accounts (id),
    kind      TEXT   NOT NULL,           -- password, app-password
    hash      TEXT   NOT NULL,           -- a PHC string; the BLAKE3 hash of an app password
    scram     TEXT   NOT NULL,           -- the keys of SCRAM as in RFC 5803, one value or several; empty for none
    label     TEXT   NOT NULL,           -- what an app password is for
    protocols TEXT   NOT NULL,           -- where it is taken, separated by commas; empty for everywhere
    read_only BIGINT NOT NULL,
    expires   BIGINT,
    created   BIGINT NOT NULL
);
CREATE INDEX credentials_account ON credentials (account);

CREATE TABLE secrets (                   -- of the store itself, the same on all nodes
    name  TEXT  PRIMARY KEY,
    value BYTEA NOT NULL
);

CREATE TABLE domains (
    name    TEXT   PRIMARY KEY,
    created BIGINT NOT NULL
);

CREATE TABLE addresses (                 -- an alias stands for accounts and for addresses elsewhere, one or more
    address TEXT   NOT NULL,             -- @domain is whatever nobody has there
    account BIGINT NOT NULL REFERENCES accounts (id), -- 0 for an address
    onward  TEXT   NOT NULL DEFAULT '',  -- the address
    PRIMARY KEY (address, account, onward)
);

CREATE TABLE dkim_keys (                 -- what mail of our domains is signed with, RFC 6376
    domain    TEXT   NOT NULL,
    selector  TEXT   NOT NULL,
    algorithm TEXT   NOT NULL,           -- rsa, ed25519
    secret    BYTEA  NOT NULL,           -- PKCS #8
    public    TEXT   NOT NULL,           -- the TXT record that shows it
    state     TEXT   NOT NULL,           -- next, active or retired
    changed   BIGINT NOT NULL,           -- when it came into that state
    PRIMARY KEY (domain, selector)
);

CREATE TABLE tls_policies (              -- of other domains, MTA-STS, RFC 8461
    domain  TEXT   PRIMARY KEY,
    id      TEXT   NOT NULL,             -- as its TXT record said
    policy  TEXT   NOT NULL,
    expires BIGINT NOT NULL
);

CREATE TABLE greylist (                  -- senders that came before, and when
    key   BYTEA  PRIMARY KEY,            -- the start of the hash of network, sender and recipient
    first BIGINT NOT NULL,               -- seconds since the Unix epoch
    last  BIGINT NOT NULL,
    taken BIGINT NOT NULL                -- how often mail was let through
);
CREATE INDEX greylist_last ON greylist (last);
CREATE INDEX greylist_first ON greylist (first) WHERE taken = 0;

CREATE TABLE throttle (                  -- failed log-ins by account, network and both
    key      TEXT   PRIMARY KEY,
    failures BIGINT NOT NULL,
    last     BIGINT NOT NULL,            -- the newest failure
    good     BIGINT NOT NULL             -- the newest success; 0 for none
);

CREATE TABLE web_sessions (
    token   BYTEA  PRIMARY KEY,          -- the hash of the cookie
    account BIGINT NOT NULL REFERENCES accounts (id),
    csrf    TEXT   NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL
);

CREATE TABLE blobs (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    hash  BYTEA  NOT NULL UNIQUE,        -- BLAKE3 of the content
    size  BIGINT NOT NULL,
    refs  BIGINT NOT NULL,               -- how many rows refer to it
    place TEXT,                          -- where the blob store keeps it; NULL is in blob_data
    freed BIGINT                         -- since when nothing refers to it
);
CREATE INDEX blobs_freed ON blobs (freed) WHERE freed IS NOT NULL;
CREATE TABLE blob_data (                 -- apart, so that counting references does not rewrite the content
    blob INTEGER PRIMARY KEY,
    data BYTEA  NOT NULL
);

CREATE TABLE nodes (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    account  BIGINT NOT NULL REFERENCES accounts (id),
    parent   BIGINT,                     -- NULL for the home itself
    name     TEXT   NOT NULL,
    folder   BIGINT NOT NULL,
    blob     BIGINT,                     -- a file's content
    size     BIGINT NOT NULL,
    etag     TEXT   NOT NULL,            -- a file's: the start of its content's hash
    created  BIGINT NOT NULL,
    modified BIGINT NOT NULL
);
CREATE UNIQUE INDEX nodes_name ON nodes (parent, name);

CREATE TABLE mailboxes (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    account       BIGINT NOT NULL REFERENCES accounts (id),
    name          TEXT   NOT NULL,       -- its levels separated by '/'
    special       TEXT,                  -- the special use with its backslash, RFC 6154
    uidvalidity   BIGINT NOT NULL,
    uidnext       BIGINT NOT NULL,
    highestmodseq BIGINT NOT NULL,
    recent        BIGINT NOT NULL DEFAULT 1, -- the first UID that no session was told of (RFC 3501 §2.3.2)
    floor         BIGINT NOT NULL,       -- what was expunged up to this mod-sequence is forgotten
    messages      BIGINT NOT NULL DEFAULT 0,
    unseen        BIGINT NOT NULL DEFAULT 0,
    deleted       BIGINT NOT NULL DEFAULT 0,
    bytes         BIGINT NOT NULL DEFAULT 0,
    deleted_bytes BIGINT NOT NULL DEFAULT 0,
    UNIQUE (account, name)
);
CREATE TABLE mailbox_names (             -- names that a mailbox gave up, so that UIDVALIDITY only grows
    account     BIGINT NOT NULL,
    name        TEXT   NOT NULL,
    uidvalidity BIGINT NOT NULL,         -- the last one the name had
    PRIMARY KEY (account, name)
);
CREATE TABLE subscriptions (             -- by name: it may be of a mailbox that is not there
    account BIGINT NOT NULL,
    name    TEXT   NOT NULL,
    PRIMARY KEY (account, name)
);
CREATE TABLE keywords (                  -- what the higher bits of `flags` mean in an account
    account BIGINT NOT NULL,
    bit     BIGINT NOT NULL,
    name    TEXT   NOT NULL,
    PRIMARY KEY (account, bit)
);

CREATE TABLE messages (                  -- narrow, since whole mailboxes are read
    mailbox  BIGINT NOT NULL,
    uid      BIGINT NOT NULL,
    modseq   BIGINT NOT NULL,
    flags    BIGINT NOT NULL,            -- system flags and keywords, one bit each
    received BIGINT NOT NULL,            -- the internal date
    saved    BIGINT NOT NULL,            -- when it came into this mailbox, RFC 8514
    blob     BIGINT NOT NULL,
    size     BIGINT NOT NULL,
    thread   BIGINT NOT NULL,
    PRIMARY KEY (mailbox, uid)
) WITHOUT ROWID;
CREATE INDEX messages_modseq ON messages (mailbox, modseq);
CREATE TABLE parsed (                    -- what is known of a message's content
    blob      INTEGER PRIMARY KEY,
    header    BYTEA,                     -- the header as it is, with the empty line; NULL for a very long one
    envelope  TEXT NOT NULL,             -- JSON
    structure TEXT NOT NULL,             -- JSON, the parts with their offsets
    preview   TEXT NOT NULL
);
CREATE TABLE expunged (                  -- for clients that synchronise, and to be restored
    mailbox  BIGINT NOT NULL,
    modseq   BIGINT NOT NULL,
    uid      BIGINT NOT NULL,
    account  BIGINT NOT NULL,
    name     TEXT   NOT NULL,            -- the mailbox's name then
    at       BIGINT NOT NULL,
    flags    BIGINT NOT NULL,
    received BIGINT NOT NULL,
    blob     BIGINT,                     -- NULL when it cannot be restored any more
    size     BIGINT NOT NULL,
    thread   BIGINT NOT NULL,
    PRIMARY KEY (mailbox, modseq, uid)
) WITHOUT ROWID;
CREATE INDEX expunged_at ON expunged (at) WHERE blob IS NOT NULL;
CREATE INDEX expunged_gone ON expunged (at) WHERE blob IS NULL;
CREATE INDEX expunged_account ON expunged (account, at) WHERE blob IS NOT NULL;
CREATE TABLE threads (                   -- to which thread a Message-ID belongs
    account BIGINT NOT NULL,
    id      BIGINT NOT NULL,             -- the start of the Message-ID's hash
    thread  BIGINT NOT NULL,
    PRIMARY KEY (account, id)
) WITHOUT ROWID;

CREATE TABLE queued (                    -- a message that leaves this server
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    blob       BIGINT NOT NULL,
    trace      TEXT   NOT NULL,          -- the id of the transaction it came by
    account    BIGINT,                   -- who sent it; NULL for what came from elsewhere, or from this server itself
    head       TEXT   NOT NULL,          -- fields that go before it
    size       BIGINT NOT NULL,          -- with them
    manner     TEXT   NOT NULL,          -- JSON, how it asks to be passed on
    arrived    BIGINT NOT NULL,
    recipients BIGINT NOT NULL           -- how many are left
);
CREATE TABLE queue (                     -- a recipient of such a message
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    message     BIGINT NOT NULL,
    sender      TEXT   NOT NULL,         -- the reverse path; empty for a notification
    recipient   TEXT   NOT NULL,
    destination TEXT   NOT NULL,         -- whose connections it shares
    notice      TEXT   NOT NULL,         -- JSON, what its sender wants to hear
    due         BIGINT NOT NULL,         -- when it is tried, or when whoever claimed it has lost it
    expires     BIGINT NOT NULL,         -- when it is given up
    warns       BIGINT,                  -- when its sender is told that it takes long; NULL for never, or done
    held        BIGINT NOT NULL DEFAULT 0,
    attempts    BIGINT NOT NULL DEFAULT 0,
    claim       BIGINT NOT NULL DEFAULT 0, -- counts claims: who has an older number has lost it
    holder      TEXT   NOT NULL DEFAULT '', -- the process that has claimed it
    said        TEXT   NOT NULL DEFAULT '' -- how the newest try ended
);
CREATE INDEX queue_due ON queue (destination, due) WHERE held = 0;
CREATE INDEX queue_message ON queue (message, destination);
CREATE INDEX queue_holder ON queue (holder) WHERE holder <> '';
CREATE INDEX queue_expires ON queue (expires);
CREATE INDEX queue_warns ON queue (warns) WHERE warns IS NOT NULL;
CREATE TABLE resting (                   -- destinations that cannot be reached
    destination TEXT   PRIMARY KEY,
    until       BIGINT NOT NULL,         -- when they are tried again
    said        TEXT   NOT NULL          -- how the newest ended
);
CREATE TABLE sending (                   -- how many recipients an account sent to
    account INTEGER PRIMARY KEY,
    hour    BIGINT NOT NULL,             -- hours since the Unix epoch
    count   BIGINT NOT NULL,             -- in that hour
    before  BIGINT NOT NULL              -- in the hour before it
);

CREATE TABLE documents (                 -- a message's content as an account's searches know it
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    account BIGINT NOT NULL,
    blob    BIGINT NOT NULL,
    indexed BIGINT NOT NULL,             -- whether its words are in the index: 0 not yet, 1 yes, 2 never, for it has too many
    UNIQUE (blob, account)
);
CREATE INDEX documents_tail ON documents (account, id) WHERE indexed <> 1;
CREATE TABLE terms (                     -- every word of an account's mail
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    account BIGINT NOT NULL,
    term    TEXT   NOT NULL,
    UNIQUE (account, term)
);
CREATE INDEX terms_account ON terms (account, id);

-- The words of each document in two fields, each with the account's number before it; the text itself is not kept. A
-- row's number is made of the account's and the blob's.
CREATE VIRTUAL TABLE texts USING fts5 (
    header, body, content='', contentless_delete=1, detail=column, tokenize='ascii'
);

CREATE TABLE audit (
    chain    BIGINT NOT NULL,
    seq      BIGINT NOT NULL,            -- from 1 without a gap
    node     TEXT   NOT NULL,            -- the node that wrote it
    time     BIGINT NOT NULL,
    actor    BIGINT,
    name     TEXT   NOT NULL,            -- the actor's name as it was then
    protocol TEXT   NOT NULL,
    peer     TEXT   NOT NULL,
    tls      TEXT   NOT NULL,
    trace    TEXT   NOT NULL,
    action   TEXT   NOT NULL,
    account  BIGINT,                     -- whose data changed; NULL where none did
    change   BIGINT,                     -- the number of the change in that account's feed
    object   BIGINT,
    target   TEXT   NOT NULL,
    outcome  TEXT   NOT NULL,            -- done, refused, failed
    detail   TEXT   NOT NULL,
    previous BYTEA  NOT NULL,            -- the hash of the record before
    hash     BYTEA  NOT NULL,            -- over everything above
    PRIMARY KEY (chain, seq)
);
CREATE INDEX audit_trace ON audit (trace);
CREATE INDEX audit_time ON audit (time);
CREATE INDEX audit_change ON audit (account, change) WHERE change IS NOT NULL;

CREATE TABLE chains (                    -- one for each connection that a node writes by
    id   INTEGER PRIMARY KEY AUTOINCREMENT,
    node TEXT   NOT NULL,
    lane BIGINT NOT NULL,
    seq  BIGINT NOT NULL,                -- the end of the chain, so that a cut tail shows
    hash BYTEA  NOT NULL,
    UNIQUE (node, lane)
);

CREATE TABLE leases (                    -- work that one node at a time does
    name    TEXT   PRIMARY KEY,
    holder  TEXT   NOT NULL,
    token   BIGINT NOT NULL,             -- raised whenever the holder changes
    expires BIGINT NOT NULL              -- by the database's clock
);

CREATE TABLE strays (                    -- contents in the blob store that no blob refers to: on their way in or out
    place  TEXT   PRIMARY KEY,
    upload TEXT   NOT NULL,              -- the multipart upload it is coming in by; empty for none
    seen   BIGINT NOT NULL               -- when its uploader was last seen; 0 for one on its way out
);
