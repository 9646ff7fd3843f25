-- The journal, the leases and the index.
--
-- Times are UTC text with nine decimals, so that they sort as text. The columns op, spec, receipt,
-- error, slots and policy.since hold JSON of the model: a key that is added there has a default and
-- needs no new schema; anything else is a new file beside this one.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The journal: runs, what they began, and how far each step came.

CREATE TABLE run (
    id      TEXT PRIMARY KEY,
    command TEXT NOT NULL,
    pid     INTEGER NOT NULL,
    started TEXT NOT NULL,
    ended   TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE action (
    id         TEXT PRIMARY KEY,
    begun_by   TEXT NOT NULL REFERENCES run,
    held_by    TEXT NOT NULL REFERENCES run,
    held_since TEXT NOT NULL,
    -- 0: left open by a run that goes on with other things
    attended   INTEGER NOT NULL DEFAULT 1 CHECK (attended IN (0, 1)),
    verb       TEXT NOT NULL,
    vm         TEXT,
    vm_name    TEXT,
    op         TEXT NOT NULL,
    stages     INTEGER NOT NULL,
    no_return  INTEGER NOT NULL,
    direction  TEXT NOT NULL DEFAULT 'forward' CHECK (direction IN ('forward', 'back')),
    state      TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'done', 'undone')),
    started    TEXT NOT NULL,
    ended      TEXT,
    error      TEXT,
    CHECK ((state = 'open') = (ended IS NULL))
) STRICT;

CREATE INDEX action_open ON action (vm) WHERE state = 'open';
CREATE INDEX action_begun_by ON action (begun_by);
CREATE INDEX action_held_by ON action (held_by);

CREATE TABLE step (
    action   TEXT NOT NULL REFERENCES action ON DELETE CASCADE,
    stage    INTEGER NOT NULL,
    n        INTEGER NOT NULL,
    spec     TEXT NOT NULL,
    mark     TEXT CHECK (mark IN ('intended', 'done', 'undone')),
    intended TEXT,
    marked   TEXT,
    receipt  TEXT,
    PRIMARY KEY (action, stage, n),
    CHECK ((mark IS NULL) = (intended IS NULL)),
    CHECK ((mark IS NULL) = (marked IS NULL)),
    CHECK (mark IS NOT 'done' OR receipt IS NOT NULL)
) STRICT;

CREATE TRIGGER step_is_new BEFORE INSERT ON step WHEN NEW.mark IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'a step begins without a mark');
END;

CREATE TRIGGER step_stays BEFORE UPDATE OF action, stage, n, spec ON step
BEGIN
    SELECT RAISE(ABORT, 'a program does not change once it was begun');
END;

CREATE TRIGGER step_order BEFORE UPDATE OF mark ON step
BEGIN
    SELECT RAISE(ABORT, 'a step is intended, then done, and undone from either')
    WHERE coalesce(OLD.mark, '') || '>' || coalesce(NEW.mark, '')
        NOT IN ('>intended', 'intended>done', 'intended>undone', 'done>undone');
    SELECT RAISE(ABORT, 'the action is closed')
    WHERE (SELECT state FROM action WHERE id = OLD.action) IS NOT 'open';
    SELECT RAISE(ABORT, 'steps are undone when the action goes back, and only then')
    WHERE (NEW.mark IS 'undone')
        <> ((SELECT direction FROM action WHERE id = OLD.action) IS 'back');
    SELECT RAISE(ABORT, 'a stage begins when the one before is done')
    WHERE NEW.mark IS 'intended' AND EXISTS (
        SELECT 1 FROM step
        WHERE action = OLD.action AND stage < OLD.stage AND mark IS NOT 'done'
    );
END;

CREATE TRIGGER action_stays_closed BEFORE UPDATE ON action WHEN OLD.state <> 'open'
BEGIN
    SELECT RAISE(ABORT, 'the action is closed');
END;

CREATE TRIGGER action_turns BEFORE UPDATE OF direction ON action
BEGIN
    SELECT RAISE(ABORT, 'an action that goes back does not go forward again')
    WHERE OLD.direction = 'back' AND NEW.direction <> 'back';
    SELECT RAISE(ABORT, 'there is no way back: a step from the point of no return on is done')
    WHERE NEW.direction = 'back' AND OLD.direction <> 'back' AND EXISTS (
        SELECT 1 FROM step
        WHERE action = OLD.id AND stage >= OLD.no_return AND mark = 'done'
    );
END;

CREATE TRIGGER action_ends BEFORE UPDATE OF state ON action
BEGIN
    SELECT RAISE(ABORT, 'an action is done when each of its steps is')
    WHERE NEW.state = 'done' AND (
        OLD.direction <> 'forward'
        OR EXISTS (SELECT 1 FROM step WHERE action = OLD.id AND mark IS NOT 'done')
    );
    SELECT RAISE(ABORT, 'an action is undone when it went back and each of its steps is undone or never began')
    WHERE NEW.state = 'undone' AND (
        OLD.direction <> 'back'
        OR EXISTS (SELECT 1 FROM step WHERE action = OLD.id AND mark IN ('intended', 'done'))
    );
END;

CREATE TRIGGER action_open_stays BEFORE DELETE ON action WHEN OLD.state = 'open'
BEGIN
    SELECT RAISE(ABORT, 'an open action is closed, never forgotten');
END;

-- Leases: what open actions hold.

CREATE TABLE lease (
    action  TEXT NOT NULL REFERENCES action ON DELETE CASCADE,
    kind    TEXT NOT NULL CHECK (kind IN ('vm', 'backup')),
    subject TEXT NOT NULL,
    mode    TEXT NOT NULL CHECK (mode IN ('shared', 'exclusive')),
    PRIMARY KEY (action, kind, subject)
) STRICT, WITHOUT ROWID;

CREATE INDEX lease_subject ON lease (kind, subject);

CREATE TRIGGER lease_is_of_an_open_action BEFORE INSERT ON lease
WHEN (SELECT state FROM action WHERE id = NEW.action) IS NOT 'open'
BEGIN
    SELECT RAISE(ABORT, 'only an open action has leases');
END;

CREATE TRIGGER lease_conflict BEFORE INSERT ON lease
WHEN EXISTS (
    SELECT 1 FROM lease
    WHERE kind = NEW.kind AND subject = NEW.subject AND action <> NEW.action
        AND (mode = 'exclusive' OR NEW.mode = 'exclusive')
)
BEGIN
    SELECT RAISE(ABORT, 'lease held');
END;

CREATE TRIGGER lease_stays BEFORE UPDATE ON lease
BEGIN
    SELECT RAISE(ABORT, 'a lease is taken and given up, never changed');
END;

CREATE TRIGGER lease_is_kept BEFORE DELETE ON lease
WHEN (SELECT state FROM action WHERE id = OLD.action) IS 'open'
BEGIN
    SELECT RAISE(ABORT, 'a lease is kept until its action closes');
END;

CREATE TRIGGER lease_goes AFTER UPDATE OF state ON action WHEN NEW.state <> 'open'
BEGIN
    DELETE FROM lease WHERE action = NEW.id;
END;

-- The index: what is on record about VMs, and what the policy said when it was last applied.

CREATE TABLE vm (
    id      TEXT PRIMARY KEY,
    name    TEXT NOT NULL,
    policy  TEXT,
    since   TEXT,
    current TEXT,
    serial  INTEGER NOT NULL DEFAULT 0,
    CHECK ((policy IS NULL) = (since IS NULL))
) STRICT, WITHOUT ROWID;

-- The id is unique within a VM: two VMs that are planned at one instant could share one.
CREATE TABLE backup (
    vm   TEXT NOT NULL REFERENCES vm,
    id   TEXT NOT NULL,
    spec TEXT NOT NULL,
    PRIMARY KEY (vm, id)
) STRICT;

-- The edges again, from spec, so that no file goes that another one continues.
CREATE TABLE backup_disk (
    vm           TEXT NOT NULL,
    backup       TEXT NOT NULL,
    target       TEXT NOT NULL,
    birth        TEXT NOT NULL,
    parent       TEXT,
    parent_birth TEXT,
    PRIMARY KEY (vm, backup, target),
    UNIQUE (vm, backup, target, birth),
    CHECK ((parent IS NULL) = (parent_birth IS NULL)),
    FOREIGN KEY (vm, backup) REFERENCES backup (vm, id) ON DELETE CASCADE,
    FOREIGN KEY (vm, parent, target, parent_birth)
        REFERENCES backup_disk (vm, backup, target, birth) DEFERRABLE INITIALLY DEFERRED
) STRICT;

CREATE INDEX backup_disk_child ON backup_disk (vm, parent, target);

CREATE TABLE served (
    vm       TEXT NOT NULL REFERENCES vm,
    schedule TEXT NOT NULL,
    at       TEXT NOT NULL,
    PRIMARY KEY (vm, schedule)
) STRICT, WITHOUT ROWID;

CREATE TABLE failure (
    n      INTEGER PRIMARY KEY,
    vm     TEXT NOT NULL REFERENCES vm,
    backup TEXT NOT NULL,
    at     TEXT NOT NULL,
    slots  TEXT NOT NULL,
    error  TEXT NOT NULL
) STRICT;

CREATE INDEX failure_vm ON failure (vm);

CREATE TABLE storage (
    name TEXT PRIMARY KEY,
    id   TEXT NOT NULL,
    path TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE offering (
    name    TEXT PRIMARY KEY,
    spec    TEXT NOT NULL,
    removed INTEGER NOT NULL CHECK (removed IN (0, 1))
) STRICT, WITHOUT ROWID;

CREATE TABLE policy (
    name  TEXT PRIMARY KEY,
    spec  TEXT NOT NULL,
    since TEXT NOT NULL
) STRICT, WITHOUT ROWID;
