/* --compare-dest, --copy-dest, --link-dest (try_dests_reg, try_dests_non, copy_altdest_file). */
#include "generator/generator_inner.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

bool gen_alt_look(ps_gen *g, gen_item *it, u32 j, struct stat *st, bool *same_data) {
    char cmp[PS_LIMIT_NAME + 1];
    const char *leaf;
    if (alt_dest_path(g->c, (int)j, item_path(g, it), cmp, sizeof cmp) != PS_OK) return false;
    int dir = option_parent(g->c, g->root, cmp, &leaf);
    if (dir < 0) return false;
    bool found = fstatat(dir, leaf, st, AT_SYMLINK_NOFOLLOW) == 0;
    if (found && same_data) *same_data = gen_file_type(st->st_mode) == it->type && gen_same_data(g, it, dir, leaf, st);
    close(dir);
    return found;
}

typedef struct best { int index, level; struct stat st; } best;

/* Levels: 1 the same type, 2 the same data, 3 the same attributes too. */
static best best_match(ps_gen *g, gen_item *it, char cmp[PS_LIMIT_NAME + 1]) {
    best b = {.index = -1};
    for (u32 j = 0; j < g->c->alt_count && b.level < 3; j++) {
        struct stat st;
        bool same;
        if (!gen_alt_look(g, it, j, &st, &same) || gen_file_type(st.st_mode) != it->type) continue;
        int level = !same ? 1 : gen_same_attrs(g, it->f, &st) ? 3 : 2;
        if (level > b.level) b = (best){.index = (int)j, .level = level, .st = st};
    }
    if (b.index >= 0) alt_dest_path(g->c, b.index, item_path(g, it), cmp, PS_LIMIT_NAME + 1);
    return b;
}

bool gen_copy_data(ps_gen *g, int from, int to, const char *shown_from, const char *shown_to) {
    char full[PS_FULL_FNAME];
    for (;;) {
        ssize_t n = read(from, g->scratch, GEN_SCRATCH);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            gen_errno(g, errno, "read %s", full_fname(g->c, shown_from, full));
            return false;
        }
        if (n == 0) return true;
        for (ssize_t at = 0; at < n;) {
            ssize_t done = write(to, g->scratch + at, (size_t)(n - at));
            if (done < 0 && errno == EINTR) continue;
            if (done <= 0) {
                gen_errno(g, errno, "write %s", full_fname(g->c, shown_to, full));
                return false;
            }
            at += done;
        }
    }
}

static bool copy_from_alt(ps_gen *g, gen_item *it, const char *cmp) {
    char temp[256], full[PS_FULL_FNAME];
    const char *path = item_path(g, it);
    int from = option_file(g->c, g->root, cmp, O_RDONLY);
    if (from < 0) {
        gen_errno(g, errno, "open %s", full_fname(g->c, cmp, full));
        return false;
    }
    int to = -1;
    if (gen_temp_name(g, it->dirfd, it->leaf, temp))
        to = openat(it->dirfd, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, (it->f->mode | S_IWUSR) & 0700);
    if (to < 0) {
        gen_errno(g, errno, "mkstemp %s failed", full_fname(g->c, path, full));
        close(from);
        return false;
    }
    bool ok = gen_copy_data(g, from, to, cmp, path);
    close(from);
    if (ok) attrs_set_open(g->c, to, path, file_attrs(it->f), NULL, PS_ATTRS_ACCURATE_TIME);
    if (close(to) < 0 && ok) {
        gen_errno(g, errno, "close failed on %s", full_fname(g->c, path, full));
        ok = false;
    }
    if (ok && renameat(it->dirfd, temp, it->dirfd, it->leaf) < 0) {
        gen_errno(g, errno, "rename %s -> \"%s\"", full_fname(g->c, temp, full), path);
        ok = false;
    }
    if (!ok) unlinkat(it->dirfd, temp, 0);
    return ok;
}

/* The file is copied locally. */
static int take_copy(ps_gen *g, gen_item *it, const char *cmp, struct stat *st, int level) {
    const ps_opts *o = &g->c->o;
    if (!o->dry_run && !copy_from_alt(g, it, cmp)) return GEN_ALT_NONE;
    if (it->itemizing) gen_itemize(g, it, it->ndx, 0, st, PS_ITEM_LOCAL_CHANGE, 0, NULL);
    if (g->attrs_report && ((!it->itemizing && o->info_name >= 1 && level == 2) || (o->info_name >= 2 && level == 3)))
        ps_log(g->c, level == 3 ? PS_LOG_CLIENT : PS_LOG_INFO, "%s%s\n", item_path(g, it), level == 3 ? " is uptodate" : "");
    if (gen_follows_links(g, it)) gen_finish_link(g, it, st, -1);
    return GEN_ALT_DONE;
}

static bool take_link(ps_gen *g, gen_item *it, const char *cmp, struct stat *st, int j) {
    const ps_opts *o = &g->c->o;
    if (!gen_link_one(g, it->f, item_path(g, it), cmp, true)) return false;
    if (gen_follows_links(g, it)) gen_finish_link(g, it, st, j);
    if (!g->attrs_report && (o->info_name >= 2 || o->stdout_format_has_i > 1))
        gen_itemize(g, it, it->ndx, 1, st, PS_ITEM_LOCAL_CHANGE | PS_ITEM_XNAME_FOLLOWS, 0, "");
    return true;
}

int gen_try_reg(ps_gen *g, gen_item *it, char cmp[PS_LIMIT_NAME + 1], struct stat *st, bool exists) {
    const ps_opts *o = &g->c->o;
    best b = best_match(g, it, cmp);
    if (!b.level) return GEN_ALT_NONE;
    if (b.level == 3 && o->alt_kind != PS_ALT_COPY) {
        bool linking = o->alt_kind == PS_ALT_LINK;
        if (exists) {
            if (linking && st->st_dev == b.st.st_dev && st->st_ino == b.st.st_ino) {
                *st = b.st;
                return GEN_ALT_NONE;
            }
            if (!o->dry_run && unlinkat(it->dirfd, it->leaf, 0) < 0 && errno != ENOENT) return GEN_ALT_NONE;
        }
        if (linking) {
            if (!take_link(g, it, cmp, &b.st, b.index)) return take_copy(g, it, cmp, &b.st, b.level);
        } else if (it->itemizing) {
            gen_itemize(g, it, it->ndx, 0, &b.st, 0, 0, NULL);
        }
        if (o->info_name >= 2 && g->attrs_report) ps_log(g->c, PS_LOG_CLIENT, "%s is uptodate\n", item_path(g, it));
        return GEN_ALT_DONE;
    }
    if (exists) return GEN_ALT_NONE;
    *st = b.st;
    return b.level >= 2 ? take_copy(g, it, cmp, st, b.level) : b.index;
}

int gen_try_non(ps_gen *g, gen_item *it, char cmp[PS_LIMIT_NAME + 1], struct stat *st) {
    const ps_opts *o = &g->c->o;
    best b = best_match(g, it, cmp);
    if (!b.level) return GEN_ALT_NONE;
    *st = b.st;
    if (b.level < 3) return b.index;
    bool no_link = false, linked = false, dir = it->type == FT_DIR;
    if (o->alt_kind == PS_ALT_LINK && !dir) {
        if (gen_link(g, cmp, item_path(g, it), true) < 0) {
            no_link = true; /* the filesystem refuses it for this kind: the entry is created instead */
        } else {
            linked = true;
            if (gen_follows_links(g, it)) gen_finish_link(g, it, NULL, -1);
        }
    }
    if (it->itemizing && o->stdout_format_has_i && (o->info_name >= 2 || o->stdout_format_has_i > 1)) {
        u32 change = o->alt_kind == PS_ALT_COMPARE && !dir ? 0 : PS_ITEM_LOCAL_CHANGE | (linked ? PS_ITEM_XNAME_FOLLOWS : 0);
        gen_itemize(g, it, it->ndx, 0, st, change | PS_ITEM_MATCHED, 0, linked ? "" : NULL);
    }
    if (o->info_name >= 2 && g->attrs_report) ps_log(g->c, PS_LOG_CLIENT, "%s%s is uptodate\n", item_path(g, it), dir ? "/" : "");
    return no_link ? GEN_ALT_NO_LINK : GEN_ALT_DONE;
}
