/* Symlinks, devices and specials; how something that exists is replaced in one step (atomic_create). */
#include "generator/generator_inner.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* receiver.c:get_tmpname with a number: a name beside `leaf` that does not exist. */
bool gen_temp_name(ps_gen *g, int dirfd, const char *leaf, char out[256]) {
    enum { SUFFIX = 8 };
    size_t n = strlen(leaf), most = NAME_MAX - 1 - SUFFIX;
    if (*leaf == '.') leaf++, n--;
    if (n > most) {
        n = most;
        while (n && leaf[n] & 0x80 && leaf[n - 1] & 0x80) n--; /* not within a multi-byte character */
    }
    if (n && leaf[n - 1] == '.') n--;
    if (!g->temp_counter) g->temp_counter = (u32)getpid();
    for (int tries = 0; tries < 100; tries++) {
        snprintf(out, 256, ".%.*s.%u", (int)n, leaf, g->temp_counter++ % 1000000);
        struct stat st;
        if (fstatat(dirfd, out, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT) return true;
    }
    return false;
}

/* -1 with the reason in errno why the entry's directory cannot be opened. */
static int need_dir(ps_gen *g, gen_item *it) {
    if (it->dirfd < 0) item_refresh(g, it);
    return it->dirfd < 0 ? -1 : 0;
}

static int make_node(ps_gen *g, gen_item *it, const char *name, dev_t rdev) {
    if (g->c->o.dry_run) return 0;
    if (need_dir(g, it) < 0) return -1;
    return mknodat(it->dirfd, name, it->f->mode, rdev);
}

static int make_symlink(ps_gen *g, gen_item *it, const char *target, const char *name) {
    if (g->c->o.dry_run) return 0;
    if (need_dir(g, it) < 0) return -1;
    return symlinkat(target, it->dirfd, name);
}

static void path_beside(const char *path, const char *leaf, char out[PS_LIMIT_NAME + 1]) {
    const char *slash = strrchr(path, '/');
    snprintf(out, PS_LIMIT_NAME + 1, "%.*s%s", slash ? (int)(slash - path + 1) : 0, path, leaf);
}

/* What is made under `name`, the entry's own or a temporary one beside it. false: it failed and was logged. */
static bool make_as(ps_gen *g, gen_item *it, const char *name, const char *target, const char *from, dev_t rdev) {
    char shown[PS_LIMIT_NAME + 1], full[PS_FULL_FNAME];
    path_beside(item_path(g, it), name, shown);
    if (target) {
        if (make_symlink(g, it, target, name) == 0) return true;
        gen_errno(g, errno, "symlink %s -> \"%s\" failed", full_fname(g->c, shown, full), target);
    } else if (from) {
        return gen_link_one(g, it->f, shown, from, false);
    } else {
        if (make_node(g, it, name, rdev) == 0) return true;
        gen_errno(g, errno, "mknod %s failed", full_fname(g->c, shown, full));
    }
    return false;
}

bool gen_create(ps_gen *g, gen_item *it, const char *target, const char *from, dev_t rdev, const struct stat *st, u32 del_for) {
    char temp[256], shown[PS_LIMIT_NAME + 1], full[PS_FULL_FNAME], full_to[PS_FULL_FNAME];
    const char *path = item_path(g, it);
    bool direct = !del_for || S_ISDIR(st->st_mode) || ps_str(g->c, PS_STR_TEMP_DIR) || !gen_temp_name(g, it->dirfd, it->leaf, temp);
    if (del_for && gen_backs_up(g) && !S_ISDIR(st->st_mode)) {
        if (!gen_make_backup(g, path, direct)) return false;
        item_refresh(g, it);
    } else if (del_for && direct) {
        u32 recurse = g->delete_mode || g->c->o.force_delete ? DEL_RECURSE : 0;
        if (gen_delete_item(g, path, st->st_mode, recurse | del_for) != DR_SUCCESS) return false;
        item_refresh(g, it);
    }
    if (!make_as(g, it, direct ? it->leaf : temp, target, from, rdev)) return false;
    if (direct || g->c->o.dry_run) return true;
    if (renameat(it->dirfd, temp, it->dirfd, it->leaf) == 0) return true;
    path_beside(path, temp, shown);
    gen_errno(g, errno, "rename %s -> \"%s\" failed", full_fname(g->c, shown, full), full_fname(g->c, path, full_to));
    unlinkat(it->dirfd, temp, 0);
    return false;
}

/* ---- symlinks ------------------------------------------------------------------------------------- */

bool gen_leads_outside(const char *target, const char *path) {
    if (!*target || *target == '/') return true;
    const char *rest = target;
    while (strncmp(rest, "../", 3) == 0)
        for (rest += 3; *rest == '/'; rest++) {}
    if (strstr(rest, "/../")) return true;
    size_t n = strlen(target);
    if (n > 3 && strcmp(target + n - 3, "/..") == 0) return true;
    int depth = 0;
    const char *slash;
    for (; (slash = strchr(path, '/')); path = slash + 1) {
        if (path[0] == '.' && path[1] == '.' && path[2] == '/')
            depth = 0;
        else if (!(path[0] == '.' && path[1] == '/'))
            depth++;
        while (slash[1] == '/') slash++;
    }
    if (strcmp(path, "..") == 0) depth = 0;
    for (; (slash = strchr(target, '/')); target = slash + 1) {
        if (target[0] == '.' && target[1] == '.' && target[2] == '/') {
            if (--depth < 0) return true;
        } else if (!(target[0] == '.' && target[1] == '/')) {
            depth++;
        }
        while (slash[1] == '/') slash++;
    }
    if (strcmp(target, "..") == 0) depth--;
    return depth < 0;
}

/* An entry whose data is in place already. */
static void up_to_date(ps_gen *g, gen_item *it, struct stat *st) {
    attrs_set(g->c, it->dirfd, it->leaf, item_path(g, it), file_attrs(it->f), st, g->attrs_report);
    gen_seen_after_owner(g, it->f, st);
    if (it->itemizing) gen_itemize(g, it, it->ndx, 0, st, 0, 0, NULL);
    if (gen_follows_links(g, it)) gen_finish_link(g, it, st, -1);
    if (g->c->o.remove_source_files == 1 && !g->c->o.dry_run) gen_send_success(g, it->ndx);
}

/* An alternate destination for something that is not there. true: nothing more is to be done. */
static bool taken_from_alt(ps_gen *g, gen_item *it, int *statret, struct stat *st) {
    char cmp[PS_LIMIT_NAME + 1];
    int j = gen_try_non(g, it, cmp, st);
    if (j == GEN_ALT_DONE && g->c->o.alt_kind != PS_ALT_COPY) return true;
    if (j == GEN_ALT_NO_LINK || j == GEN_ALT_DONE) {
        it->itemizing = false;
        it->code = GEN_NO_CODE;
    } else if (j >= 0) {
        *statret = 1;
    }
    return false;
}

static void created(ps_gen *g, gen_item *it, int statret, const struct stat *st) {
    attrs_set(g->c, it->dirfd, it->leaf, item_path(g, it), file_attrs(it->f), NULL, 0);
    if (it->itemizing) gen_itemize(g, it, it->ndx, statret, st, PS_ITEM_LOCAL_CHANGE | PS_ITEM_REPORT_CHANGE, 0, NULL);
}

void gen_symlink(ps_gen *g, gen_item *it, int statret, struct stat *st) {
    const ps_opts *o = &g->c->o;
    const char *target = file_link(it->l, it->f);
    if (!target) target = "";
    if (o->safe_links && gen_leads_outside(target, item_path(g, it))) {
        if (o->info_name >= 1) {
            char own[PS_LIMIT_NAME + 1];
            file_path(g->all, it->l, it->f, own);
            ps_log(g->c, PS_LOG_INFO, "ignoring unsafe symlink \"%s\" -> \"%s\"\n", g->solo ? own : it->path, target);
        }
        return;
    }
    if (statret == 0) {
        if (S_ISLNK(st->st_mode) && gen_same_data(g, it, it->dirfd, it->leaf, st)) {
            up_to_date(g, it, st);
            return;
        }
    } else if (g->c->alt_count && taken_from_alt(g, it, &statret, st)) {
        return;
    }
    if (!gen_create(g, it, target, NULL, 0, st, statret == 0 ? DEL_FOR_SYMLINK : 0)) return;
    created(g, it, statret == 0 && !S_ISLNK(st->st_mode) ? -1 : statret, st);
    if (it->code != GEN_NO_CODE && o->info_name >= 1) ps_log(g->c, it->code, "%s -> %s\n", item_path(g, it), target);
    if (gen_follows_links(g, it)) gen_finish_link(g, it, NULL, -1);
    if (o->remove_source_files && !o->dry_run) gen_send_success(g, it->ndx);
}

void gen_device(ps_gen *g, gen_item *it, int statret, struct stat *st) {
    const ps_opts *o = &g->c->o;
    const ps_file_extra *e = file_extra(it->l, it->f);
    bool device = it->type == FT_DEVICE;
    dev_t rdev = device && e ? makedev(e->rdev_major, e->rdev_minor) : 0;
    bool existed = statret == 0;
    if (existed) {
        if (it->type != gen_file_type(st->st_mode)) {
            statret = -1;
        } else if (gen_same_data(g, it, it->dirfd, it->leaf, st)) {
            up_to_date(g, it, st);
            return;
        }
    } else if (g->c->alt_count && taken_from_alt(g, it, &statret, st)) {
        return;
    }
    if (!gen_create(g, it, NULL, NULL, rdev, st, !existed ? 0 : device ? DEL_FOR_DEVICE : DEL_FOR_SPECIAL)) return;
    created(g, it, statret, st);
    if (it->code != GEN_NO_CODE && o->info_name >= 1) ps_log(g->c, it->code, "%s\n", item_path(g, it));
    if (gen_follows_links(g, it)) gen_finish_link(g, it, NULL, -1);
    if (o->remove_source_files == 1 && !o->dry_run) gen_send_success(g, it->ndx);
}
