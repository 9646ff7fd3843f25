-- Wishes about backups: what is to be done, and what came of the attempts.
CREATE TABLE job (
    vm         TEXT NOT NULL,
    backup     TEXT NOT NULL,
    kind       TEXT NOT NULL CHECK (kind IN ('start', 'finalize', 'validate')),
    state      TEXT NOT NULL CHECK (state IN ('waiting', 'done', 'failed', 'cancelled')),
    attempts   INTEGER NOT NULL DEFAULT 0,
    not_before TEXT NOT NULL,
    started    TEXT,
    ended      TEXT,
    error      TEXT CHECK (error IS NULL OR json_valid(error)),
    -- As JSON: what the job before it left, by disk.
    files      TEXT CHECK (files IS NULL OR json_valid(files)),
    PRIMARY KEY (vm, backup, kind),
    FOREIGN KEY (vm, backup) REFERENCES backup (vm, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
