-- When the files of a backup were read again.
CREATE TABLE verified (
    vm     TEXT NOT NULL,
    backup TEXT NOT NULL,
    -- NULL: never to the end
    at     TEXT,
    tried  TEXT NOT NULL,
    -- 1: the backup's record on the storage does not say yet what was found
    untold INTEGER NOT NULL CHECK (untold IN (0, 1)),
    PRIMARY KEY (vm, backup),
    FOREIGN KEY (vm, backup) REFERENCES backup (vm, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
