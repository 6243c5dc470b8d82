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
    created  BIGINT NOT NULL
);
INSERT INTO accounts (id, name, kind, role, created) VALUES (0, '', 'system', 'user', 0);

CREATE TABLE credentials (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    account  BIGINT NOT NULL REFERENCES accounts (id),
    kind     TEXT   NOT NULL,            -- password
    verifier TEXT   NOT NULL,            -- a PHC string
    created  BIGINT NOT NULL
);
CREATE INDEX credentials_account ON credentials (account);

CREATE TABLE domains (
    name    TEXT   PRIMARY KEY,
    created BIGINT NOT NULL
);

CREATE TABLE addresses (                 -- an alias stands for one account or more
    address TEXT   NOT NULL,
    account BIGINT NOT NULL REFERENCES accounts (id),
    PRIMARY KEY (address, account)
);

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
    blob BIGINT PRIMARY KEY,
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
    name          TEXT   NOT NULL,
    uidvalidity   BIGINT NOT NULL,
    uidnext       BIGINT NOT NULL,
    highestmodseq BIGINT NOT NULL,
    special       TEXT,                  -- the special use, RFC 6154
    UNIQUE (account, name)
);

CREATE TABLE messages (
    mailbox   BIGINT NOT NULL REFERENCES mailboxes (id),
    uid       BIGINT NOT NULL,
    modseq    BIGINT NOT NULL,
    flags     BIGINT NOT NULL,           -- system flags, one bit each
    keywords  TEXT   NOT NULL,
    received  BIGINT NOT NULL,           -- the internal date
    blob      BIGINT NOT NULL,
    size      BIGINT NOT NULL,
    envelope  TEXT   NOT NULL,           -- JSON, parsed once, when it arrived
    structure TEXT   NOT NULL,           -- JSON, the parts with their offsets
    preview   TEXT   NOT NULL,
    trace     TEXT   NOT NULL,
    PRIMARY KEY (mailbox, uid)
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
