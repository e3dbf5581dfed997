/* A sender's entries while nobody has asked for them: a third of their size, in the order in which they were sent. */
#ifndef PS_PACKED_H
#define PS_PACKED_H
#include "filelist/flist.h"

/* Where reading stands; a zeroed one with `at` set begins at a mark. */
typedef struct packed_cursor {
    size_t at;
    packed_before before;
} packed_cursor;

/* Takes all entries that lie in l->files over into l->packed. */
bool flist_pack(ps_flist *l);
/* A place at which reading can begin: that of the next entry. All entries must be packed. */
packed_cursor flist_packed_mark(ps_flist *l);
/* The entry at the cursor. */
typedef struct packed_entry {
    ps_file file;
    char name[PS_LIMIT_NAME + 1];
    const char *link; /* NULL where there is no ps_file_extra; valid until the next flist_pack */
    u32 link_len, rdev_major, rdev_minor;
} packed_entry;
bool flist_packed_next(const ps_flist *l, packed_cursor *c, packed_entry *e); /* false: the end */
bool flist_unpack(ps_flist *l); /* all of them into l->files */

#endif
