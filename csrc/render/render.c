/* Itemized and formatted lines (log.c: log_formatted, log_item, log_delete). */
#include "render/render_inner.h"

#include "fs/mode_text.h"
#include "wire/mux.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "api/render_api.h"

#define WIDTH_MAX 4095 /* MAXPATHLEN - 1, to which rsync cuts a padded field */

typedef struct format {
    ps_format_op *ops;
    u32 count;
    char *text;
    bool has_o_or_i;
    ps_buf line;
} format;

/* What one line is about. */
typedef struct item {
    ps_ctx *c;
    const ps_flists *all; /* NULL: a deletion, or a test */
    const ps_flist *l;
    const ps_file *f;
    const char *name;     /* of a deletion, or a test */
    const char *target;   /* hard link */
    const char *link;     /* symlink */
    u32 iflags;
    i64 transfer_bytes, checksum_bytes;
    const char *op;
} item;

static void format_free(format *f) {
    if (!f) return;
    free(f->ops);
    free(f->text);
    buf_free(&f->line);
    free(f);
}

/* What the context keeps for us. */
typedef struct formats {
    format *of[2]; /* PS_FORMAT_* */
} formats;

static void formats_free(void *owned) {
    formats *all = owned;
    for (int i = 0; i < 2; i++) format_free(all->of[i]);
    free(all);
}

static format *format_of(const ps_ctx *c, int which) {
    const formats *all = ctx_owned(c, PS_OWNED_FORMATS);
    return all ? all->of[which] : NULL;
}

bool render_has_format(const ps_ctx *c, int which) { return format_of(c, which); }

int ps_ctx_set_format(ps_ctx *c, int which, const ps_format_op *ops, uint32_t count, const uint8_t *text, size_t text_len) {
    if (which != PS_FORMAT_STDOUT && which != PS_FORMAT_LOG) return ps_fail(c, 1, 0, "no output format %d", which);
    formats *all = ctx_owned(c, PS_OWNED_FORMATS);
    if (!all) {
        all = calloc(1, sizeof *all);
        if (!all) return ps_fail_memory(c, "the output formats");
        ctx_own(c, PS_OWNED_FORMATS, all, formats_free);
    }
    format_free(all->of[which]);
    all->of[which] = NULL;
    if (!count) return PS_OK;
    format *f = calloc(1, sizeof *f);
    if (!f || !(f->ops = malloc(count * sizeof *ops)) || !(f->text = malloc(text_len + 1))) {
        format_free(f);
        return ps_fail_memory(c, "an output format");
    }
    memcpy(f->ops, ops, count * sizeof *ops);
    if (text_len) memcpy(f->text, text, text_len);
    f->count = count;
    for (u32 i = 0; i < count; i++) {
        if (ops[i].text_off > text_len || text_len - ops[i].text_off < ops[i].text_len) {
            format_free(f);
            return ps_fail(c, 1, 0, "part %u of an output format lies outside its text", i + 1);
        }
        f->has_o_or_i |= ops[i].letter == 'o' || ops[i].letter == 'i';
        if (f->ops[i].width > WIDTH_MAX) f->ops[i].width = WIDTH_MAX;
    }
    all->of[which] = f;
    return PS_OK;
}

/* ---- one field ---------------------------------------------------------------------------------- */

static void put_padded(ps_buf *b, const ps_format_op *op, const char *s, size_t n, bool number) {
    size_t pad = op->width > 0 && (size_t)op->width > n ? (size_t)op->width - n : 0;
    if (op->width >= 0 && n > WIDTH_MAX) n = WIDTH_MAX;
    char fill = number && op->zero && !op->left ? '0' : ' ';
    if (!op->left)
        while (pad) buf_u8(b, (u8)fill), pad--;
    buf_put(b, s, n);
    while (pad) buf_u8(b, ' '), pad--;
}

static void put_text(ps_buf *b, const ps_format_op *op, const char *s) { put_padded(b, op, s, strlen(s), false); }

static void put_number(ps_buf *b, const ps_format_op *op, i64 n, bool unsigned_field) {
    char digits[40];
    size_t len = big_num(n, unsigned_field ? 0 : op->human, digits);
    put_padded(b, op, digits, len, unsigned_field);
}

/* Length of the entry's path in out (PS_LIMIT_NAME + 2 bytes). */
static size_t item_path(const item *it, char *out) {
    if (!it->name) return file_shown_path(it->all, it->l, it->f, out);
    size_t n = strnlen(it->name, PS_LIMIT_NAME);
    memcpy(out, it->name, n);
    out[n] = 0;
    return n;
}

/* util1.c:clean_fname without flags: "." components but a last one, and doubled slashes go. */
static size_t clean_name(char *s, size_t n) {
    size_t out = 0, at = 0;
    if (n && s[0] == '/') out = at = 1;
    size_t start = out;
    while (at < n) {
        size_t end = at;
        while (end < n && s[end] != '/') end++;
        if (end > at && !(end - at == 1 && s[at] == '.' && end < n)) {
            if (out > start) s[out++] = '/';
            memmove(s + out, s + at, end - at);
            out += end - at;
        }
        at = end + 1;
    }
    if (!out && n) s[out++] = '.';
    return out;
}

/* %f: the path as it is on this side, without a slash in front. */
static void put_full_name(ps_buf *b, const ps_format_op *op, const item *it) {
    char path[2 * PS_LIMIT_NAME + 8];
    size_t at = 0;
    if (it->c->o.role == PS_ROLE_SENDER && it->all) {
        const char *prefix = file_root_path(it->all, it->f);
        at = strnlen(prefix, PS_LIMIT_NAME);
        memcpy(path, prefix, at);
        if (at) path[at++] = '/';
    }
    size_t n = clean_name(path, at + item_path(it, path + at)), skip = n && path[0] == '/';
    put_padded(b, op, path + skip, n - skip, false);
}

static void put_link(ps_buf *b, const ps_format_op *op, const item *it) {
    const char *arrow = "    ", *name = "";
    if (it->target && *it->target)
        arrow = " => ", name = it->target;
    else if (it->link)
        arrow = " -> ", name = it->link;
    else if (op->width < 0)
        return;
    buf_put(b, arrow, 4);
    put_text(b, op, name);
}

static void put_checksum(ps_buf *b, const ps_format_op *op, const item *it) {
    const ps_opts *o = &it->c->o;
    char hex[2 * PS_LIMIT_CHECKSUM];
    int kind = o->checksum ? o->file_sum : o->xfer_sum;
    size_t n = 0;
    if (S_ISREG(it->f->mode)) {
        if (o->checksum && it->l && it->l->sums && !(it->iflags & PS_ITEM_DELETED))
            n = sum_hex(kind, it->l->sums + (size_t)(it->f - it->l->files) * it->l->sum_len, hex);
        else if (!o->checksum && it->iflags & PS_ITEM_TRANSFER)
            n = sum_hex(kind, it->c->transfer_sum, hex);
    }
    if (!n) {
        n = sum_hex_length(kind);
        memset(hex, ' ', n);
    }
    put_padded(b, op, hex, n, false);
}

static void put_daemon_text(ps_buf *b, const ps_format_op *op, const item *it, int which, const char *literal) {
    const char *s = ps_str(it->c, which);
    if (it->c->o.am_daemon)
        put_text(b, op, s ? s : "");
    else
        buf_put(b, literal, op->text_len);
}

static void put_field(ps_buf *b, const ps_format_op *op, const char *literal, const item *it) {
    const ps_file *f = it->f;
    char s[PS_LIMIT_NAME + 2];
    switch (op->letter) {
    case 'n': {
        size_t n = item_path(it, s);
        if (S_ISDIR(f->mode)) s[n++] = '/';
        put_padded(b, op, s, n, false);
        return;
    }
    case 'i':
        itemize_string(&it->c->o, f->mode, it->iflags, s);
        put_padded(b, op, s, 11, false);
        return;
    case 'L': put_link(b, op, it); return;
    case 'f': put_full_name(b, op, it); return;
    case 'l': put_number(b, op, f->size, false); return;
    case 'b': put_number(b, op, it->iflags & PS_ITEM_TRANSFER ? it->transfer_bytes : 0, false); return;
    case 'c': put_number(b, op, it->iflags & PS_ITEM_TRANSFER ? it->checksum_bytes : 0, false); return;
    case 'U': put_number(b, op, it->c->o.owner ? f->uid : 0, true); return;
    case 'G':
        if (it->c->o.group && !(f->flags & PS_F_SKIP_GROUP))
            put_number(b, op, f->gid, true);
        else
            put_text(b, op, "DEFAULT");
        return;
    case 'p': put_number(b, op, getpid(), true); return;
    case 'M':
        time_string(f->mtime, s);
        for (char *space = s; (space = strchr(space, ' '));) *space = '-';
        put_text(b, op, s);
        return;
    case 't':
        time_string((i64)time(NULL), s);
        put_text(b, op, s);
        return;
    case 'B':
        perm_string(f->mode, s);
        put_text(b, op, s + 1);
        return;
    case 'o': put_text(b, op, it->op); return;
    case 'C': put_checksum(b, op, it); return;
    case 'm': put_text(b, op, ps_str(it->c, PS_STR_MODULE) ? ps_str(it->c, PS_STR_MODULE) : ""); return;
    case 'h': put_daemon_text(b, op, it, PS_STR_HOST, literal); return;
    case 'a': put_daemon_text(b, op, it, PS_STR_ADDRESS, literal); return;
    case 'P': put_daemon_text(b, op, it, PS_STR_MODULE_PATH, literal); return;
    case 'u': put_daemon_text(b, op, it, PS_STR_USER, literal); return;
    case '%': put_text(b, op, "%"); return;
    default: buf_put(b, literal, op->text_len);
    }
}

static int render(format *fmt, int code, const item *it) {
    ps_buf *b = &fmt->line;
    buf_clear(b);
    for (u32 i = 0; i < fmt->count; i++) {
        const ps_format_op *op = &fmt->ops[i];
        put_field(b, op, fmt->text + op->text_off, it);
    }
    buf_u8(b, '\n');
    if (b->failed) return ps_fail_memory(it->c, "a formatted line");
    ps_log_bytes(it->c, code, buf_head(b), buf_used(b));
    return PS_OK;
}

/* ---- lines --------------------------------------------------------------------------------------- */

static int render_to(ps_ctx *c, int code, const item *it) {
    if (code != PS_LOG_LOG && format_of(c, PS_FORMAT_STDOUT) && !c->o.am_server &&
        render(format_of(c, PS_FORMAT_STDOUT), PS_LOG_CLIENT, it) < 0)
        return PS_FAIL;
    if (code != PS_LOG_CLIENT && format_of(c, PS_FORMAT_LOG)) return render(format_of(c, PS_FORMAT_LOG), PS_LOG_LOG, it);
    return PS_OK;
}

static const char *direction(const ps_ctx *c) { return c->o.role == PS_ROLE_SENDER ? "send" : "recv"; }

int render_item(ps_ctx *c, int code, const ps_flists *all, const ps_flist *l, const ps_file *f, u32 iflags, const char *target,
                i64 transfer_bytes, i64 checksum_bytes) {
    item it = {c, all, l, f, NULL, target, S_ISLNK(f->mode) ? file_link(l, f) : NULL, iflags, transfer_bytes, checksum_bytes, direction(c)};
    return render_to(c, code, &it);
}

int render_maybe_item(ps_ctx *c, const ps_flists *all, const ps_flist *l, const ps_file *f, u32 iflags, const char *target) {
    const ps_opts *o = &c->o;
    bool significant = iflags & ~(u32)(PS_ITEM_BASIS_TYPE_FOLLOWS | PS_ITEM_XNAME_FOLLOWS | PS_ITEM_LOCAL_CHANGE);
    bool named = target && *target;
    int itemizing = o->am_server ? o->log_format_has_i : o->stdout_format_has_i;
    bool see = itemizing && (significant || named || o->stdout_format_has_i > 1 || (o->info_name > 1 && o->stdout_format_has_i));
    if (o->am_server) {
        if (o->dry_run || !see || !(significant || o->log_format_has_i)) return PS_OK;
        return render_item(c, PS_LOG_LOG, all, l, f, iflags, target, 0, 0);
    }
    if (!see && !named && !(significant && (iflags & PS_ITEM_LOCAL_CHANGE || S_ISDIR(f->mode)))) return PS_OK;
    return render_item(c, significant || o->log_format_has_i ? PS_LOG_INFO : PS_LOG_CLIENT, all, l, f, iflags, target, 0, 0);
}

static int render_plain_delete(ps_ctx *c, int code, const item *it) {
    char path[PS_LIMIT_NAME + 2];
    item_path(it, path);
    ps_log(c, code, "deleting %s%s\n", path, S_ISDIR(it->f->mode) ? "/" : "");
    return PS_OK;
}

int render_delete(ps_ctx *c, const char *path, u32 mode) {
    ps_file gone = {.mode = mode};
    item it = {.c = c, .f = &gone, .name = path, .iflags = PS_ITEM_DELETED, .op = "del."};
    format *shown = format_of(c, PS_FORMAT_STDOUT), *logged = format_of(c, PS_FORMAT_LOG);
    int status = PS_OK;
    if (!c->o.am_server && (c->o.info_del || shown))
        status = shown && shown->has_o_or_i ? render(shown, PS_LOG_CLIENT, &it) : render_plain_delete(c, PS_LOG_CLIENT, &it);
    if (status == PS_OK && logged && !c->o.dry_run)
        status = logged->has_o_or_i ? render(logged, PS_LOG_LOG, &it) : render_plain_delete(c, PS_LOG_LOG, &it);
    return status;
}

int render_deleted(ps_ctx *c, const u8 *data, u32 len) {
    char path[PS_LIMIT_NAME + 1];
    if (len > PS_LIMIT_NAME) return ps_fail(c, 12, 0, "multiplexing overflow %d:%u", PS_MSG_DELETED, len);
    if (len) memcpy(path, data, len);
    path[len] = 0;
    return render_delete(c, path, len && !data[len - 1] ? S_IFDIR : S_IFREG);
}

int ps_render_delete(ps_ctx *c, const char *path, uint32_t mode) { return render_delete(c, path, mode); }

int ps_render_test(ps_ctx *c, const char *path, const char *link, const char *hard_link, const ps_render_case *t, uint32_t times) {
    ps_file f = {.size = t->size, .mtime = t->mtime, .mode = t->mode, .uid = t->uid, .gid = t->gid};
    item it = {c, NULL, NULL, &f, path, hard_link, link, t->iflags, t->transfer_bytes, t->checksum_bytes, direction(c)};
    int status = PS_OK;
    while (times-- && status == PS_OK) status = render_to(c, t->code, &it);
    return status;
}
