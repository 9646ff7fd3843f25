-- The disk-only snapshots of a VM, as JSON; NULL where it has none.
ALTER TABLE vm ADD COLUMN snapshots TEXT CHECK (snapshots IS NULL OR json_valid(snapshots));
