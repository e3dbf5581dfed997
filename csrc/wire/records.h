/* Numbers in rsync's records: file indexes with a meaning, item flags, kinds of basis (rsync.h), phases. */
#ifndef PS_RECORDS_H
#define PS_RECORDS_H
#include "core/context.h"

#define PS_NDX_DONE (-1)
#define PS_NDX_FLIST_EOF (-2)
#define PS_NDX_DEL_STATS (-3)
#define PS_NDX_FLIST_OFFSET (-101)

#define PS_ITEM_REPORT_ATIME 0x0001
#define PS_ITEM_REPORT_CHANGE 0x0002
#define PS_ITEM_REPORT_SIZE 0x0004
#define PS_ITEM_REPORT_TIMEFAIL 0x0004
#define PS_ITEM_REPORT_TIME 0x0008
#define PS_ITEM_REPORT_PERMS 0x0010
#define PS_ITEM_REPORT_OWNER 0x0020
#define PS_ITEM_REPORT_GROUP 0x0040
#define PS_ITEM_REPORT_ACL 0x0080
#define PS_ITEM_REPORT_XATTR 0x0100
#define PS_ITEM_REPORT_CRTIME 0x0400
#define PS_ITEM_BASIS_TYPE_FOLLOWS 0x0800
#define PS_ITEM_XNAME_FOLLOWS 0x1000
#define PS_ITEM_IS_NEW 0x2000
#define PS_ITEM_LOCAL_CHANGE 0x4000
#define PS_ITEM_TRANSFER 0x8000
#define PS_ITEM_MISSING_DATA 0x10000 /* local only, as the next two */
#define PS_ITEM_DELETED 0x20000
#define PS_ITEM_MATCHED 0x40000

#define PS_BASIS_DIR_LOW 0x00  /* index of an alternate destination */
#define PS_BASIS_DIR_HIGH 0x7f
#define PS_BASIS_FNAME 0x80
#define PS_BASIS_PARTIAL_DIR 0x81
#define PS_BASIS_BACKUP 0x82
#define PS_BASIS_FUZZY 0x83

/* Phases, each ended by an NDX_DONE: files, files that failed, delayed updates (from protocol 29 on). */
#define PS_PHASE_DELAYED 2
#define PS_PHASE_OVER 3
static inline int last_phase(const ps_opts *o) { return o->protocol >= 29 ? PS_PHASE_DELAYED : PS_PHASE_DELAYED - 1; }

/* A daemon's clients of old know no warnings. */
static inline int vanished_code(const ps_opts *o) { return o->am_daemon && o->protocol < 28 ? PS_LOG_ERROR : PS_LOG_WARNING; }

#endif
