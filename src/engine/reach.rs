//! Whether QEMU reaches the backups that VMs may be started from.

use std::rc::Rc;

use crate::host::Host;
use crate::model::equipment::Equipment;
use crate::model::layout;
use crate::model::machine::Format;
use crate::model::step::Image;
use crate::model::world::World;
use crate::planner::doctor;

/// Tries it with the newest backup of each VM whose offering allows that.
pub async fn reach<H: Host>(host: &Rc<H>, world: &World, equipment: &mut Equipment) {
    for guest in world.guests.values() {
        let Some(backup) = guest.record.last_good() else {
            continue;
        };
        let mut storages = world.storages.iter();
        let seen = storages.find(|(_, seen)| seen.usable() == Some(&backup.storage.id));
        let (Some((name, seen)), Some(disk)) = (seen, backup.disks.values().next()) else {
            continue;
        };
        if !doctor::allows_quick_restore(world, backup) {
            continue;
        }
        let dir = layout::backup_dir(&seen.path, &guest.vm.uuid, &backup.id);
        let image = Image::new(dir.join(&disk.name), Format::Qcow2);
        if let Err(error) = host.readable(&image).await {
            let why = error.to_string();
            equipment.unreadable.entry(name.clone()).or_insert(why);
        }
        let machine = guest.machine.as_ref();
        if machine.is_some_and(|machine| machine.power.is_on())
            && let Err(error) = host.finds(&guest.vm.uuid, &[image.path]).await
        {
            let why = error.to_string();
            equipment.unseen.insert(guest.vm.uuid.clone(), why);
        }
    }
}
