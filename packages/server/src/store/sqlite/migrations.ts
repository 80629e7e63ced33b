/**
 * The schema, as numbered steps. A step that was released is never edited: a change is a new step at the end. The
 * database's `user_version` is the number of steps that it has taken.
 *
 * Rows refer to each other by small integers; the 16-byte ids stand once, where a thing is named. Ids of the log grow in
 * the order of acceptance, so that new rows and their bytes go to the end of the file.
 */
export const migrations: readonly string[] = [
  `
  CREATE TABLE settings (
    key   TEXT PRIMARY KEY,
    value BLOB NOT NULL
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE accounts (
    number           INTEGER PRIMARY KEY,
    account          BLOB NOT NULL UNIQUE,
    name             TEXT NOT NULL UNIQUE,
    setup            BLOB NOT NULL,
    stretching       INTEGER NOT NULL,
    record           BLOB NOT NULL,
    presence_visible INTEGER NOT NULL DEFAULT 1,
    created_at       INTEGER NOT NULL,
    disabled         INTEGER NOT NULL DEFAULT 0
  ) STRICT;

  CREATE TABLE chain (
    account INTEGER NOT NULL REFERENCES accounts,
    place   INTEGER NOT NULL,
    entry   BLOB NOT NULL,
    PRIMARY KEY (account, place)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE vaults (
    account       INTEGER PRIMARY KEY REFERENCES accounts,
    root_version  INTEGER NOT NULL,
    wrap_password BLOB NOT NULL,
    wrap_recovery BLOB NOT NULL,
    root_vault    BLOB NOT NULL,
    account_vault BLOB NOT NULL,
    recovery_key  BLOB NOT NULL,
    signature     BLOB NOT NULL
  ) STRICT;

  -- inbox_head: the newest sequence given out in the device's inbox; never goes back, so that none is used twice.
  CREATE TABLE devices (
    number        INTEGER PRIMARY KEY,
    device        BLOB NOT NULL UNIQUE,
    account       INTEGER NOT NULL REFERENCES accounts,
    signature_key BLOB NOT NULL,
    added_at      INTEGER NOT NULL,
    last_seen_at  INTEGER NOT NULL,
    logged_out    INTEGER NOT NULL DEFAULT 0,
    revoked_at    INTEGER,
    lapsed        INTEGER NOT NULL DEFAULT 0,
    boot_counter  INTEGER NOT NULL,
    boot_random   BLOB NOT NULL,
    inbox_head    INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE INDEX devices_by_account ON devices (account);

  CREATE TABLE key_packages (
    number      INTEGER PRIMARY KEY,
    ref         BLOB NOT NULL UNIQUE,
    device      INTEGER NOT NULL REFERENCES devices,
    suite       INTEGER NOT NULL,
    bytes       BLOB NOT NULL,
    not_after   INTEGER NOT NULL,
    last_resort INTEGER NOT NULL,
    used        INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE INDEX key_packages_by_device ON key_packages (device, suite, last_resort);
  CREATE INDEX key_packages_by_not_after ON key_packages (not_after) WHERE last_resort = 0;

  -- Which packages were handed out, and to whom. One that was handed out once is in no other table any more.
  CREATE TABLE claims (
    ref        BLOB NOT NULL,
    claimed_by INTEGER NOT NULL REFERENCES accounts,
    not_after  INTEGER NOT NULL,
    PRIMARY KEY (ref, claimed_by)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX claims_by_not_after ON claims (not_after);

  -- expired: entries up to here are deleted; expired_total: the log's running total of bytes there.
  CREATE TABLE conversations (
    number         INTEGER PRIMARY KEY,
    conversation   BLOB NOT NULL UNIQUE,
    kind           TEXT NOT NULL,
    suite          INTEGER NOT NULL,
    generation     INTEGER NOT NULL DEFAULT 0,
    epoch          INTEGER NOT NULL DEFAULT 0,
    min_send_epoch INTEGER NOT NULL DEFAULT 0,
    expired        INTEGER NOT NULL DEFAULT 0,
    expired_total  INTEGER NOT NULL DEFAULT 0,
    created_at     INTEGER NOT NULL
  ) STRICT;

  CREATE TABLE members (
    conversation INTEGER NOT NULL REFERENCES conversations,
    account      INTEGER NOT NULL REFERENCES accounts,
    role         TEXT NOT NULL,
    PRIMARY KEY (conversation, account)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX members_by_account ON members (account);

  CREATE TABLE leaves (
    conversation  INTEGER NOT NULL REFERENCES conversations,
    leaf          INTEGER NOT NULL,
    device        INTEGER NOT NULL REFERENCES devices,
    signature_key BLOB NOT NULL,
    first_epoch   INTEGER NOT NULL,
    from_sequence INTEGER NOT NULL,
    PRIMARY KEY (conversation, leaf)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX leaves_by_device ON leaves (device);

  -- The log has no column for the sender: MLS hides it. \`submission\` recognises an entry that is submitted again: for a
  -- commit its SHA-256, for a message a hash of (device, submission id) behind the submission id's first six bytes, which
  -- are the time and keep the index growing at one end. \`total\`: bytes of the conversation's log up to and with this
  -- entry. No foreign key: the store has just looked the conversation up, and this is the one table where it would cost.
  CREATE TABLE log (
    id           INTEGER PRIMARY KEY,
    conversation INTEGER NOT NULL,
    sequence     INTEGER NOT NULL,
    kind         INTEGER NOT NULL,
    epoch        INTEGER NOT NULL,
    accepted_at  INTEGER NOT NULL,
    total        INTEGER NOT NULL,
    submission   BLOB NOT NULL,
    bytes        BLOB NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX log_by_sequence ON log (conversation, sequence);
  CREATE UNIQUE INDEX log_by_submission ON log (submission);

  CREATE TABLE group_info (
    conversation INTEGER NOT NULL REFERENCES conversations,
    epoch        INTEGER NOT NULL,
    bytes        BLOB NOT NULL,
    PRIMARY KEY (conversation, epoch)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE inbox (
    device          INTEGER NOT NULL REFERENCES devices,
    sequence        INTEGER NOT NULL,
    conversation    INTEGER NOT NULL REFERENCES conversations,
    generation      INTEGER NOT NULL,
    epoch           INTEGER NOT NULL,
    from_sequence   INTEGER NOT NULL,
    key_package_ref BLOB NOT NULL,
    bytes           BLOB NOT NULL,
    PRIMARY KEY (device, sequence)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE cursors (
    device       INTEGER NOT NULL REFERENCES devices,
    conversation INTEGER NOT NULL REFERENCES conversations,
    sequence     INTEGER NOT NULL,
    PRIMARY KEY (device, conversation)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE invites (
    token      BLOB PRIMARY KEY,
    uses_left  INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  `,
  `
  -- The one that devices replace all the time, apart from those that only a password replaces.
  CREATE TABLE account_vaults (
    account    INTEGER PRIMARY KEY REFERENCES accounts,
    version    INTEGER NOT NULL,
    bytes      BLOB NOT NULL,
    device     INTEGER NOT NULL REFERENCES devices,
    signature  BLOB NOT NULL,
    written_at INTEGER NOT NULL
  ) STRICT;
  INSERT INTO account_vaults
    SELECT v.account, 1, v.account_vault, (SELECT min(d.number) FROM devices d WHERE d.account = v.account), x'', a.created_at
    FROM vaults v JOIN accounts a ON a.number = v.account;
  ALTER TABLE vaults DROP COLUMN account_vault;

  -- Secrets that an account's devices send each other, in the inbox beside the Welcomes: one sequence counts both.
  -- sender: null if it was no device yet.
  CREATE TABLE shares (
    device   INTEGER NOT NULL REFERENCES devices,
    sequence INTEGER NOT NULL,
    sender   INTEGER REFERENCES devices,
    bytes    BLOB NOT NULL,
    PRIMARY KEY (device, sequence)
  ) STRICT, WITHOUT ROWID;

  -- What an account archived of a conversation, and how far it needs the log no more. No row: nothing yet. newest: the
  -- number of the newest chunk, 0 for none; bytes: of all chunks together.
  CREATE TABLE archives (
    account      INTEGER NOT NULL REFERENCES accounts,
    conversation INTEGER NOT NULL REFERENCES conversations,
    settled      INTEGER NOT NULL,
    newest       INTEGER NOT NULL,
    bytes        INTEGER NOT NULL,
    PRIMARY KEY (account, conversation)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX archives_by_conversation ON archives (conversation, account, settled);

  CREATE TABLE archive_chunks (
    id            INTEGER PRIMARY KEY,
    account       INTEGER NOT NULL REFERENCES accounts,
    conversation  INTEGER NOT NULL REFERENCES conversations,
    number        INTEGER NOT NULL,
    from_sequence INTEGER NOT NULL,
    to_sequence   INTEGER NOT NULL,
    hash          BLOB NOT NULL,
    bytes         BLOB NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX archive_chunks_by_number ON archive_chunks (account, conversation, number);
  ALTER TABLE accounts ADD COLUMN archive_bytes INTEGER NOT NULL DEFAULT 0;
  `,
  `
  -- A device that is too far behind in one conversation stops to hold that log alone; \`devices.lapsed\` is for who was
  -- not seen for long.
  ALTER TABLE leaves ADD COLUMN lapsed INTEGER NOT NULL DEFAULT 0;
  CREATE INDEX leaves_lapsed ON leaves (device) WHERE lapsed = 1;
  `,
  `
  -- Sealed files of accounts; the bytes are in the folder blobs. completed_at: null while it is being uploaded.
  -- lease_until: up to then it stays whether anybody keeps it or not.
  CREATE TABLE blobs (
    number       INTEGER PRIMARY KEY,
    blob         BLOB NOT NULL UNIQUE,
    account      INTEGER NOT NULL REFERENCES accounts,
    size         INTEGER NOT NULL,
    hash         BLOB NOT NULL,
    created_at   INTEGER NOT NULL,
    completed_at INTEGER,
    lease_until  INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX blobs_unfinished ON blobs (account, created_at) WHERE completed_at IS NULL;

  CREATE TABLE blob_keeps (
    blob    INTEGER NOT NULL REFERENCES blobs,
    account INTEGER NOT NULL REFERENCES accounts,
    PRIMARY KEY (blob, account)
  ) STRICT, WITHOUT ROWID;
  ALTER TABLE accounts ADD COLUMN blob_bytes INTEGER NOT NULL DEFAULT 0;
  `,
  `
  -- Messages that somebody showed the operator, each with the proof of which device wrote it.
  CREATE TABLE reports (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    reporter    INTEGER NOT NULL REFERENCES accounts,
    device      INTEGER NOT NULL REFERENCES devices,
    hash        BLOB NOT NULL,
    proof       BLOB NOT NULL,
    note        TEXT NOT NULL,
    reported_at INTEGER NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX reports_by_reporter ON reports (reporter, hash);
  `,
  `
  -- Whom accounts take nothing from.
  CREATE TABLE blocks (
    account    INTEGER NOT NULL REFERENCES accounts,
    blocked    INTEGER NOT NULL REFERENCES accounts,
    blocked_at INTEGER NOT NULL,
    PRIMARY KEY (account, blocked)
  ) STRICT, WITHOUT ROWID;

  -- asked: who has neither written in a direct conversation nor accepted it, until they do; asked_messages: how many
  -- messages the other one wrote meanwhile.
  ALTER TABLE conversations ADD COLUMN asked INTEGER REFERENCES accounts;
  ALTER TABLE conversations ADD COLUMN asked_messages INTEGER NOT NULL DEFAULT 0;
  `,
  `
  -- Whether an account ever opened the conversation or sent a message into it. Who was a member before this was kept counts as one
  -- who did.
  ALTER TABLE members ADD COLUMN has_written INTEGER NOT NULL DEFAULT 0;
  UPDATE members SET has_written = 1;
  `,
  `
  -- Members come and go, and so do their devices' leaves. from_sequence: they are owed the entries after it. until_sequence:
  -- they get nothing after it; null while they are members. ended_at orders those that ended.
  ALTER TABLE members ADD COLUMN from_sequence INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE members ADD COLUMN until_sequence INTEGER;
  ALTER TABLE members ADD COLUMN ended_at INTEGER;
  ALTER TABLE leaves ADD COLUMN until_sequence INTEGER;

  -- Leaves that are no longer in the tree, for as long as their device lacks entries that it is still owed.
  CREATE TABLE ended_leaves (
    device         INTEGER NOT NULL REFERENCES devices,
    conversation   INTEGER NOT NULL REFERENCES conversations,
    from_sequence  INTEGER NOT NULL,
    until_sequence INTEGER NOT NULL,
    PRIMARY KEY (device, conversation)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX ended_leaves_by_conversation ON ended_leaves (conversation);

  -- Which accounts cannot go on in an epoch.
  CREATE TABLE broken_reports (
    conversation INTEGER NOT NULL REFERENCES conversations,
    account      INTEGER NOT NULL REFERENCES accounts,
    generation   INTEGER NOT NULL,
    epoch        INTEGER NOT NULL,
    PRIMARY KEY (conversation, account)
  ) STRICT, WITHOUT ROWID;

  -- Public structures that are too large for a frame, once each, for as long as a row names them in its column \`structure\`;
  -- that row's own bytes are empty.
  CREATE TABLE structures (
    number INTEGER PRIMARY KEY,
    hash   BLOB NOT NULL UNIQUE,
    bytes  BLOB NOT NULL
  ) STRICT;
  ALTER TABLE log ADD COLUMN structure INTEGER;
  CREATE INDEX log_by_structure ON log (structure) WHERE structure IS NOT NULL;
  ALTER TABLE group_info ADD COLUMN structure INTEGER;
  CREATE INDEX group_info_by_structure ON group_info (structure) WHERE structure IS NOT NULL;
  ALTER TABLE inbox ADD COLUMN structure INTEGER;
  CREATE INDEX inbox_by_structure ON inbox (structure) WHERE structure IS NOT NULL;
  CREATE TRIGGER structure_of_log AFTER DELETE ON log WHEN OLD.structure IS NOT NULL BEGIN
    DELETE FROM structures WHERE number = OLD.structure
      AND NOT EXISTS (SELECT 1 FROM log WHERE structure = OLD.structure)
      AND NOT EXISTS (SELECT 1 FROM group_info WHERE structure = OLD.structure)
      AND NOT EXISTS (SELECT 1 FROM inbox WHERE structure = OLD.structure);
  END;
  CREATE TRIGGER structure_of_group_info AFTER DELETE ON group_info WHEN OLD.structure IS NOT NULL BEGIN
    DELETE FROM structures WHERE number = OLD.structure
      AND NOT EXISTS (SELECT 1 FROM log WHERE structure = OLD.structure)
      AND NOT EXISTS (SELECT 1 FROM group_info WHERE structure = OLD.structure)
      AND NOT EXISTS (SELECT 1 FROM inbox WHERE structure = OLD.structure);
  END;
  CREATE TRIGGER structure_of_inbox AFTER DELETE ON inbox WHEN OLD.structure IS NOT NULL BEGIN
    DELETE FROM structures WHERE number = OLD.structure
      AND NOT EXISTS (SELECT 1 FROM log WHERE structure = OLD.structure)
      AND NOT EXISTS (SELECT 1 FROM group_info WHERE structure = OLD.structure)
      AND NOT EXISTS (SELECT 1 FROM inbox WHERE structure = OLD.structure);
  END;
  `,
];
