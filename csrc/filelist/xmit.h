/* The flags that begin an entry of the file list (rsync.h:XMIT_*), in the forms of the protocols from 27 on. */
#ifndef PS_XMIT_H
#define PS_XMIT_H

#define XMIT_TOP_DIR 0x0001
#define XMIT_SAME_MODE 0x0002
#define XMIT_EXTENDED_FLAGS 0x0004
#define XMIT_SAME_RDEV_27 0x0004      /* protocol 27, where one byte holds all flags */
#define XMIT_SAME_UID 0x0008
#define XMIT_SAME_GID 0x0010
#define XMIT_SAME_NAME 0x0020
#define XMIT_LONG_NAME 0x0040
#define XMIT_SAME_TIME 0x0080
#define XMIT_SAME_RDEV_MAJOR 0x0100   /* devices */
#define XMIT_NO_CONTENT_DIR 0x0100    /* directories */
#define XMIT_HLINKED 0x0200
#define XMIT_USER_NAME_FOLLOWS 0x0400
#define XMIT_SAME_DEV_29 0x0400       /* protocols 28 and 29: of the hard link */
#define XMIT_GROUP_NAME_FOLLOWS 0x0800
#define XMIT_RDEV_MINOR_8_29 0x0800   /* protocols 28 and 29: the minor number is one byte */
#define XMIT_HLINK_FIRST 0x1000       /* with XMIT_HLINKED */
#define XMIT_IO_ERROR_ENDLIST 0x1000  /* with XMIT_EXTENDED_FLAGS and nothing else */
#define XMIT_MOD_NSEC 0x2000
#define XMIT_SAME_ATIME 0x4000

#define PS_MUNGE_PREFIX "/rsyncd-munged/"
#define PS_WIRE_NSEC_MAX 999999999
#define PS_IOERR_VALID 7

static inline bool mode_is_device(u32 mode) { return S_ISCHR(mode) || S_ISBLK(mode); }
static inline bool mode_is_special(u32 mode) { return S_ISSOCK(mode) || S_ISFIFO(mode); }
#endif
