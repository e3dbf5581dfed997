/* Hard links of the receiving side (hlink.c): the first name of a group that is ready is the leader, the others are linked to
 * it, at once or when its data has come. */
#include "generator/generator_inner.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static ps_link_group *group_of(ps_gen *g, const ps_flist *l, const ps_file *f) {
    const ps_file_extra *e = file_extra(l, f);
    return e && g->c->o.inc_recurse ? flists_link_group(g->all, e->hlink, false) : NULL;
}

/* Lists that have ended stay as long as they have files in the swarm: names of a group wait there too. */
static ps_flist *list_of_member(ps_gen *g, i32 ndx) {
    ps_flist *l = gen_list_for(g, ndx);
    if (l) return l;
    const ps_file *f = flists_file(g->all, ndx, &l);
    return f && gen_in_swarm(f) ? l : NULL;
}

ps_file *gen_prior_link(ps_gen *g, const ps_flist *of, ps_file *f, ps_flist **list, const char **name) {
    ps_file_extra *e = file_extra(of, f);
    if (name) *name = NULL;
    if (!e) return NULL;
    while (e->hlink_prev >= 0) {
        ps_flist *l = list_of_member(g, e->hlink_prev);
        if (!l) break;
        ps_file *prev = &l->files[e->hlink_prev - l->ndx_start];
        if (!(prev->flags & PS_F_SKIP_HLINK)) {
            *list = l;
            return prev;
        }
        const ps_file_extra *pe = file_extra(l, prev);
        e->hlink_prev = pe ? pe->hlink_prev : -1;
    }
    const ps_link_group *group = group_of(g, of, f);
    if (group) {
        if (group->name != PS_NO_OFFSET) {
            if (name) *name = arena_at(&g->all->dir_arena, group->name);
            return NULL;
        }
        e->hlink_prev = -1; /* the ones before were left out */
    }
    return NULL;
}

bool gen_link_one(ps_gen *g, ps_file *f, const char *path, const char *from, bool outside) {
    if (gen_link(g, from, path, outside) < 0) {
        int err = errno;
        char full[PS_FULL_FNAME];
        if (!outside)
            gen_errno(g, err, "link %s => %s failed", full_fname(g->c, path, full), from);
        else if (g->c->o.info_name >= 1)
            ps_log_errno(g->c, PS_LOG_INFO, err, "rsync: [generator] link %s => %s failed", full_fname(g->c, path, full), from);
        return false;
    }
    f->flags |= PS_F_HLINK_DONE;
    return true;
}

/* Links the entry to `from`, whose state is *from_st; shown: its name for the user. */
static bool link_to(ps_gen *g, gen_item *it, int statret, const struct stat *st, const char *from, const struct stat *from_st,
                    const char *shown) {
    if (statret == 0 && st->st_dev == from_st->st_dev && st->st_ino == from_st->st_ino) {
        if (it->itemizing) gen_itemize(g, it, it->ndx, statret, st, PS_ITEM_LOCAL_CHANGE | PS_ITEM_XNAME_FOLLOWS, 0, "");
        if (g->c->o.info_name >= 2 && g->attrs_report) ps_log(g->c, PS_LOG_CLIENT, "%s is uptodate\n", item_path(g, it));
        it->f->flags |= PS_F_HLINK_DONE;
        return true;
    }
    if (!gen_create(g, it, NULL, from, 0, st, statret == 0 ? DEL_FOR_FILE : 0)) return false;
    if (it->itemizing) gen_itemize(g, it, it->ndx, statret, st, PS_ITEM_LOCAL_CHANGE | PS_ITEM_XNAME_FOLLOWS, 0, shown);
    if (it->code != GEN_NO_CODE && g->c->o.info_name >= 1) ps_log(g->c, it->code, "%s => %s\n", item_path(g, it), shown);
    return true;
}

/* The same inode in an alternate destination, or equal data: then the link is no news. Returns the new statret. */
static int look_in_alt(ps_gen *g, gen_item *it, struct stat *st, const struct stat *leader) {
    const ps_opts *o = &g->c->o;
    int statret = -1;
    for (u32 j = 0; j < g->c->alt_count; j++) {
        struct stat alt;
        bool same, linking = o->alt_kind == PS_ALT_LINK;
        if (!gen_alt_look(g, it, j, &alt, linking ? NULL : &same)) continue;
        if (linking) {
            if (leader->st_dev != alt.st_dev || leader->st_ino != alt.st_ino) continue;
            *st = alt;
            if (!o->stdout_format_has_i || (o->info_name < 2 && o->stdout_format_has_i < 2)) {
                it->itemizing = false;
                it->code = GEN_NO_CODE;
                if (o->info_name >= 2 && g->attrs_report) ps_log(g->c, PS_LOG_CLIENT, "%s is uptodate\n", item_path(g, it));
            }
            return 1;
        }
        if (!S_ISREG(it->f->mode) || !same) continue;
        statret = 1;
        *st = alt;
        if (gen_same_attrs(g, it->f, &alt)) break;
    }
    return statret;
}

/* The name to link to when a finished entry was found before this one: its own, or of the group's first. */
static const char *leader_name(ps_gen *g, gen_item *it, ps_file *prev, ps_flist *l, char buf[PS_LIMIT_NAME + 1],
                               char shown_buf[PS_LIMIT_NAME + 1], const char **shown) {
    if (!(prev->flags & PS_F_HLINK_FIRST)) {
        const char *name;
        ps_flist *first_list = l;
        ps_file *first = gen_prior_link(g, l, prev, &first_list, &name);
        file_extra(it->l, it->f)->hlink_prev = first ? first_list->ndx_start + (i32)(first - first_list->files) : -1;
        if (!first) return *shown = name;
        prev = first;
        l = first_list;
    }
    const ps_file_extra *e = file_extra(l, prev);
    file_path(g->all, l, prev, shown_buf);
    *shown = shown_buf;
    /* In a dry run the leader may exist only in the alternate destination that it would be linked from. */
    if (e && e->hlink_prev >= 0 && g->c->o.dry_run && e->hlink_prev < (i32)g->c->alt_count &&
        alt_dest_path(g->c, e->hlink_prev, shown_buf, buf, PS_LIMIT_NAME + 1) == PS_OK)
        return buf;
    return shown_buf;
}

static int stat_any(ps_gen *g, const char *path, struct stat *st) {
    if (*path != '/' && strncmp(path, "../", 3) != 0) return gen_lstat(g, path, st);
    return option_lstat(g->c, g->root, path, st);
}

bool gen_link_check(ps_gen *g, gen_item *it, int statret, struct stat *st) {
    const char *name, *shown;
    char buf[PS_LIMIT_NAME + 1], shown_buf[PS_LIMIT_NAME + 1];
    ps_flist *l = NULL;
    ps_file *prev = gen_prior_link(g, it->l, it->f, &l, &name);
    shown = name;
    if (!prev && !name) return false; /* the ones before were left out: this is the first now */
    if (prev) {
        ps_file_extra *e = file_extra(it->l, it->f), *pe = file_extra(l, prev);
        if (!(prev->flags & PS_F_HLINK_DONE)) {
            if (!(prev->flags & PS_F_FILE_SENT)) return false; /* no leader yet */
            e->hlink_prev = pe->hlink_prev;
            pe->hlink_prev = it->ndx;
            it->f->flags |= PS_F_FILE_SENT | PS_F_HLINK_WAITS;
            if (gen_in_swarm(prev))
                gen_join_swarm(g, it->l, it->f);
            else
                it->l->in_progress++;
            return true;
        }
        name = leader_name(g, it, prev, l, buf, shown_buf, &shown);
        if (!name) return false;
    } else {
        snprintf(shown_buf, sizeof shown_buf, "%s", name); /* the arena may move */
        name = shown = shown_buf;
    }
    struct stat leader;
    if (stat_any(g, name, &leader) < 0) {
        if (!g->c->o.dry_run || errno != ENOENT) {
            char full[PS_FULL_FNAME];
            gen_errno(g, errno, "stat %s failed", full_fname(g->c, name, full));
            return true;
        }
        memset(&leader, 0, sizeof leader);
    }
    if (statret < 0 && g->c->alt_count) statret = look_in_alt(g, it, st, &leader);
    if (!link_to(g, it, statret, st, name, &leader, shown)) return true;
    if (g->c->o.remove_source_files == 1 && !g->c->o.dry_run) gen_send_success(g, it->ndx);
    return true;
}

/* One that --compare-dest has is linked too, but did not wait. */
static void stop_waiting(ps_gen *g, ps_flist *l, ps_file *f) {
    bool waited = f->flags & PS_F_HLINK_WAITS;
    f->flags &= (u16)~PS_F_HLINK_WAITS;
    if (gen_in_swarm(f))
        gen_leave_swarm(g, l, f);
    else if (waited)
        l->in_progress--;
}

void gen_finish_link(ps_gen *g, gen_item *it, const struct stat *st, int alt) {
    char alt_name[PS_LIMIT_NAME + 1];
    const char *path = item_path(g, it), *from = path;
    ps_file_extra *e = file_extra(it->l, it->f);
    struct stat own;
    if (!e) return;
    i32 prev = e->hlink_prev;
    if (!st && prev >= 0) {
        if (gen_lstat(g, path, &own) < 0) {
            if (!g->c->o.dry_run) {
                char full[PS_FULL_FNAME];
                gen_errno(g, errno, "stat %s failed", full_fname(g->c, path, full));
                return;
            }
            memset(&own, 0, sizeof own);
        }
        st = &own;
    }
    it->f->flags |= PS_F_HLINK_FIRST | PS_F_HLINK_DONE; /* both together: the first that got done */
    e->hlink_prev = alt;
    if (alt >= 0 && g->c->o.dry_run && alt_dest_path(g->c, alt, path, alt_name, sizeof alt_name) == PS_OK) from = alt_name;
    while (prev >= 0) {
        ps_flist *l = list_of_member(g, prev);
        if (!l) break;
        gen_item other;
        item_init(g, &other, l, &l->files[prev - l->ndx_start], prev);
        other.itemizing = it->itemizing;
        other.unsent = it->unsent;
        other.code = it->code;
        ps_file_extra *oe = file_extra(l, other.f);
        other.f->flags = (u16)((other.f->flags & ~PS_F_HLINK_FIRST) | PS_F_HLINK_DONE);
        i32 next = oe ? oe->hlink_prev : -1;
        if (oe) oe->hlink_prev = it->ndx;
        struct stat there;
        int statret = other.dirfd < 0 ? -1 : fstatat(other.dirfd, other.leaf, &there, AT_SYMLINK_NOFOLLOW);
        bool ok = link_to(g, &other, statret, &there, from, st, path);
        stop_waiting(g, l, other.f);
        if (ok && g->c->o.remove_source_files == 1 && !g->c->o.dry_run) gen_send_success(g, prev);
        prev = next;
    }
    if (!g->c->o.inc_recurse) return;
    ps_link_group *group = group_of(g, it->l, it->f);
    if (!group || group->name != PS_NO_OFFSET) return;
    size_t n = strlen(from);
    group->name_len = (u32)n;
    group->name = arena_put(&g->all->dir_arena, from, n);
    if (group->name == PS_NO_OFFSET) gen_fail_memory(g);
}

/* ---- a leader whose data come from the swarm --------------------------------------------------------- */

void gen_links_join_swarm(ps_gen *g, const ps_flist *l, const ps_file *f) {
    const ps_file_extra *e = file_extra(l, f);
    for (i32 prev = e ? e->hlink_prev : -1; prev >= 0;) {
        ps_flist *at = gen_list_for(g, prev);
        if (!at) return;
        ps_file *member = &at->files[prev - at->ndx_start];
        member->flags |= PS_F_FILE_SENT;
        if (member->flags & PS_F_HLINK_WAITS) at->in_progress--;
        gen_join_swarm(g, at, member);
        e = file_extra(at, member);
        prev = e ? e->hlink_prev : -1;
    }
}

void gen_finish_swarm_link(ps_gen *g, ps_flist *l, ps_file *f, i32 ndx) {
    gen_item it;
    item_init(g, &it, l, f, ndx);
    it.unsent = true;
    gen_finish_link(g, &it, NULL, -1);
}

/* Later names of the group find no leader: one of them tries its own luck. */
void gen_lose_links(ps_gen *g, ps_flist *l, ps_file *f, i32 ndx) {
    ps_file_extra *e = file_extra(l, f);
    i32 prev = e ? e->hlink_prev : -1;
    gen_item it;
    item_init(g, &it, l, f, ndx);
    f->flags |= PS_F_SKIP_HLINK;
    if (e) e->hlink_prev = -1;
    while (prev >= 0) {
        ps_flist *at = list_of_member(g, prev);
        if (!at) return;
        ps_file *member = &at->files[prev - at->ndx_start];
        if (member->flags & PS_F_HLINK_WAITS) {
            char path[PS_LIMIT_NAME + 1], full[PS_FULL_FNAME];
            file_path(g->all, at, member, path);
            ps_log(g->c, PS_LOG_ERROR_XFER, "rsync: [generator] link %s => %s failed: that one did not come\n",
                   full_fname(g->c, path, full), item_path(g, &it));
            member->flags |= PS_F_SKIP_HLINK;
        }
        e = file_extra(at, member);
        prev = e ? e->hlink_prev : -1;
        if (e) e->hlink_prev = -1;
        stop_waiting(g, at, member);
    }
}
