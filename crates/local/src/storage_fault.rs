//! What is the matter with a disk, for whoever is told what to do about it.

use std::io;
use valkeeper_model::StorageFault;

pub(crate) fn storage_fault(error: &io::Error) -> StorageFault {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StorageFault::DiskFull,
        io::ErrorKind::ReadOnlyFilesystem => StorageFault::ReadOnly,
        _ => StorageFault::Io,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_other_faults() {
        let fault = |number| storage_fault(&io::Error::from_raw_os_error(number));
        assert_eq!(fault(28), StorageFault::DiskFull, "ENOSPC");
        assert_eq!(fault(30), StorageFault::ReadOnly, "EROFS");
        assert_eq!(fault(5), StorageFault::Io, "EIO");
    }
}
