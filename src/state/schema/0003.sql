-- What a record says of a backup can be leased apart from its files.
CREATE TABLE leased AS SELECT * FROM lease;
DROP TABLE lease;

CREATE TABLE lease (
    action  TEXT NOT NULL REFERENCES action ON DELETE CASCADE,
    kind    TEXT NOT NULL CHECK (kind IN ('vm', 'backup', 'marks')),
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

INSERT INTO lease SELECT * FROM leased;
DROP TABLE leased;
