-- An action that was given up is over wherever its steps stand.
ALTER TABLE action ADD COLUMN abandoned INTEGER NOT NULL DEFAULT 0 CHECK (abandoned IN (0, 1));

DROP TRIGGER action_ends;

CREATE TRIGGER action_ends BEFORE UPDATE OF state ON action
BEGIN
    SELECT RAISE(ABORT, 'an action is done when each of its steps is')
    WHERE NEW.state = 'done' AND (
        OLD.direction <> 'forward'
        OR EXISTS (SELECT 1 FROM step WHERE action = OLD.id AND mark IS NOT 'done')
    );
    SELECT RAISE(ABORT, 'an action is undone when it went back and each of its steps is undone or never began')
    WHERE NEW.state = 'undone' AND NEW.abandoned = 0 AND (
        OLD.direction <> 'back'
        OR EXISTS (SELECT 1 FROM step WHERE action = OLD.id AND mark IN ('intended', 'done'))
    );
    SELECT RAISE(ABORT, 'an action that was given up is not done')
    WHERE NEW.abandoned = 1 AND NEW.state <> 'undone';
END;
