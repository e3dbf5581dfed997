/* Users and groups of a transfer, uidlist.c: local ids for those on the wire, and names for ours. */
#ifndef PS_IDS_H
#define PS_IDS_H
#include "filelist/flist.h"

typedef struct ps_ids ps_ids;
static inline ps_ids *ids_of(const ps_ctx *c) { return ctx_owned(c, PS_OWNED_IDS); } /* made by flists_new */
bool ids_make(ps_ctx *c);

/* Receiver. Local ids for the remote's; *flags gets PS_F_SKIP_GROUP where the group cannot be set by us. */
u32 ids_recv_user(ps_ids *i, u32 id, const u8 *name, size_t len);
u32 ids_recv_group(ps_ids *i, u32 id, const u8 *name, size_t len, u16 *flags);
u32 ids_match_user(ps_ids *i, u32 id);
u32 ids_match_group(ps_ids *i, u32 id, u16 *flags);
/* Maps the ids of all entries of a complete list (the end of uidlist.c:recv_id_list). */
void ids_map_list(ps_ids *i, ps_flist *l);

/* Sender. The name to send with an id that is met for the first time, NULL when it was met before or has no name. */
const char *ids_add_user(ps_ids *i, u32 id);
const char *ids_add_group(ps_ids *i, u32 id);
bool ids_put_lists(ps_ids *i, ps_buf *out); /* uidlist.c:send_id_lists */
#endif
