#include "filelist/ids.h"

#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct id_entry {
    u32 id, local;
    char *name; /* sender: the name sent; NULL none */
    bool outside; /* receiver: a group that we are not a member of */
} id_entry;

/* Ids in the order in which they were met, with an index by number. */
typedef struct id_table {
    id_entry *list;
    u32 count, cap, last;
    u32 *slots; /* open addressing, position + 1; 0 free */
    u32 slot_cap;
} id_table;

struct ps_ids {
    ps_ctx *ctx;
    id_table users, groups;
    gid_t *member;
    int member_count;
};

static void table_free(id_table *t) {
    for (u32 k = 0; k < t->count; k++) free(t->list[k].name);
    free(t->list);
    free(t->slots);
}

static void ids_free(void *ids) {
    ps_ids *i = ids;
    table_free(&i->users);
    table_free(&i->groups);
    free(i->member);
    free(i);
}

bool ids_make(ps_ctx *c) {
    if (ids_of(c)) return true;
    ps_ids *i = calloc(1, sizeof *i);
    if (!i) {
        ps_fail_memory(c, "users and groups");
        return false;
    }
    i->ctx = c;
    i->member_count = -1;
    ctx_own(c, PS_OWNED_IDS, i, ids_free);
    return true;
}

/* ---- tables ---------------------------------------------------------------------------------- */

static u32 slot_of(const id_table *t, u32 id) {
    u32 at = (id * 0x9E3779B1u) & (t->slot_cap - 1);
    while (t->slots[at] && t->list[t->slots[at] - 1].id != id) at = (at + 1) & (t->slot_cap - 1);
    return at;
}

static id_entry *table_find(id_table *t, u32 id) {
    if (!t->count) return NULL;
    if (t->list[t->last].id == id) return &t->list[t->last];
    u32 position = t->slots[slot_of(t, id)];
    if (!position) return NULL;
    t->last = position - 1;
    return &t->list[t->last];
}

static bool table_grow(id_table *t) {
    u32 cap = t->cap ? t->cap * 2 : 32;
    id_entry *list = realloc(t->list, cap * sizeof *list);
    if (!list) return false;
    t->list = list;
    u32 *slots = calloc(cap * 2, sizeof *slots);
    if (!slots) return false;
    free(t->slots);
    t->slots = slots;
    t->slot_cap = cap * 2;
    t->cap = cap;
    for (u32 k = 0; k < t->count; k++) t->slots[slot_of(t, t->list[k].id)] = k + 1;
    return true;
}

/* The record for an id, new when `*fresh`. NULL: memory, or more ids than are accepted. */
static id_entry *table_add(ps_ids *i, id_table *t, u32 id, bool *fresh) {
    id_entry *e = table_find(t, id);
    *fresh = !e;
    if (e) return e;
    if (t->count >= PS_LIMIT_IDS) {
        ps_fail(i->ctx, 12, 0, "more than %d users or groups in the file list", PS_LIMIT_IDS);
        return NULL;
    }
    if (t->count == t->cap && !table_grow(t)) {
        ps_fail_memory(i->ctx, "users and groups");
        return NULL;
    }
    t->list[t->count] = (id_entry){.id = id, .local = id};
    t->slots[slot_of(t, id)] = ++t->count;
    t->last = t->count - 1;
    return &t->list[t->last];
}

/* ---- receiver -------------------------------------------------------------------------------- */

static bool is_member(ps_ids *i, gid_t gid) {
    if (i->member_count < 0) {
        int n = getgroups(0, NULL);
        if (n < 0) n = 0;
        i->member = malloc(((size_t)n + 1) * sizeof *i->member);
        if (!i->member) return gid == getegid();
        if (n) n = getgroups(n, i->member);
        if (n < 0) n = 0;
        i->member[n] = getegid();
        i->member_count = n + 1;
    }
    for (int k = 0; k < i->member_count; k++) {
        if (i->member[k] == gid) return true;
    }
    return false;
}

/* A name decides where there is one here too; id 0 is never given to another user. */
static void settle(ps_ids *i, id_entry *e, bool user, const u8 *name, size_t len) {
    char text[PS_LIMIT_ID_NAME + 1];
    e->local = e->id;
    if (len && len <= PS_LIMIT_ID_NAME && e->id && i->ctx->o.numeric_ids >= 0) {
        memcpy(text, name, len);
        text[len] = 0;
        if (user) {
            const struct passwd *p = getpwnam(text);
            if (p) e->local = p->pw_uid;
        } else {
            const struct group *g = getgrnam(text);
            if (g) e->local = g->gr_gid;
        }
    }
    e->outside = !user && !i->ctx->o.am_root && !is_member(i, e->local);
}

u32 ids_recv_user(ps_ids *i, u32 id, const u8 *name, size_t len) {
    bool fresh;
    id_entry *e = table_add(i, &i->users, id, &fresh);
    if (!e) return id;
    settle(i, e, true, name, len);
    return e->local;
}

u32 ids_recv_group(ps_ids *i, u32 id, const u8 *name, size_t len, u16 *flags) {
    bool fresh;
    id_entry *e = table_add(i, &i->groups, id, &fresh);
    if (!e) return id;
    settle(i, e, false, name, len);
    if (e->outside) *flags |= PS_F_SKIP_GROUP;
    return e->local;
}

u32 ids_match_user(ps_ids *i, u32 id) {
    bool fresh;
    id_entry *e = table_add(i, &i->users, id, &fresh);
    if (!e) return id;
    if (fresh) settle(i, e, true, NULL, 0);
    return e->local;
}

u32 ids_match_group(ps_ids *i, u32 id, u16 *flags) {
    bool fresh;
    id_entry *e = table_add(i, &i->groups, id, &fresh);
    if (!e) return id;
    if (fresh) settle(i, e, false, NULL, 0);
    if (e->outside) *flags |= PS_F_SKIP_GROUP;
    return e->local;
}

void ids_map_list(ps_ids *i, ps_flist *l) {
    const ps_opts *o = &i->ctx->o;
    if (o->owner && o->am_root && !o->numeric_ids) {
        for (u32 k = 0; k < l->count; k++) l->files[k].uid = ids_match_user(i, l->files[k].uid);
    }
    if (o->group && (!o->am_root || !o->numeric_ids)) {
        for (u32 k = 0; k < l->count; k++) l->files[k].gid = ids_match_group(i, l->files[k].gid, &l->files[k].flags);
    }
}

/* ---- sender ---------------------------------------------------------------------------------- */

const char *ids_add_user(ps_ids *i, u32 id) {
    bool fresh;
    id_entry *e = table_add(i, &i->users, id, &fresh);
    if (!e || !fresh) return NULL;
    const struct passwd *p = getpwuid(id);
    if (p) e->name = strdup(p->pw_name);
    return e->name;
}

const char *ids_add_group(ps_ids *i, u32 id) {
    bool fresh;
    id_entry *e = table_add(i, &i->groups, id, &fresh);
    if (!e || !fresh) return NULL;
    const struct group *g = getgrgid(id);
    if (g) e->name = strdup(g->gr_name);
    return e->name;
}

static bool put_name(ps_buf *out, int protocol, u32 id, const char *name) {
    size_t n = name ? strlen(name) : 0;
    if (n > PS_LIMIT_ID_NAME) n = PS_LIMIT_ID_NAME;
    return buf_varint30(out, protocol, (i32)id) && buf_u8(out, (u8)n) && buf_put(out, name, n);
}

static bool put_list(ps_ids *i, const id_table *t, bool users, ps_buf *out) {
    int protocol = i->ctx->o.protocol;
    for (u32 k = t->count; k-- > 0;) { /* the last met first, as rsync has them */
        if (t->list[k].id && t->list[k].name && !put_name(out, protocol, t->list[k].id, t->list[k].name)) return false;
    }
    if (!i->ctx->o.id0_names) return buf_varint30(out, protocol, 0);
    const char *name = NULL;
    if (users) {
        const struct passwd *p = getpwuid(0);
        if (p) name = p->pw_name;
    } else {
        const struct group *g = getgrgid(0);
        if (g) name = g->gr_name;
    }
    return put_name(out, protocol, 0, name);
}

bool ids_put_lists(ps_ids *i, ps_buf *out) {
    const ps_opts *o = &i->ctx->o;
    if ((o->owner || o->acls) && !put_list(i, &i->users, true, out)) return false;
    return !(o->group || o->acls) || put_list(i, &i->groups, false, out);
}

void ps_ids_prewarm(void) {
    (void)getpwuid(0);
    (void)getpwnam("root");
    (void)getgrgid(0);
    (void)getgrnam("root");
}
