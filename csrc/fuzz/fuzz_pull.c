/* A sender's side of a session, at a receiver with an old copy: list, replies, messages, digest answers. Head: options (two
 * bytes), bytes fed at a time (0: all), an old protocol (1: 27 to 3: 29; 0: none), who receives (1 a server, 2 a daemon; 4 its
 * rules hide something). Then the multiplexed stream. */
#include "fuzz_tools.h"
#include "api/receiving_api.h"
#include "api/rules_api.h"
#include "api/swarm_api.h"

static const char *make_old(char top[64]) {
    static char path[80];
    int dir = fuzz_folder(top, "fuzz_pull");
    snprintf(path, sizeof path, "%s/dest", top);
    if (mkdirat(dir, "dest", 0700) < 0) abort();
    close(dir);
    return path;
}

/* What the recorded tree has, older: tests/corpus/make.py. */
static void renew(const char *path) {
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) abort();
    (void)mkdirat(dir, "d", 0700);
    (void)mkdirat(dir, "gone", 0700);
    fuzz_put_file(dir, "a", 3000, 1);
    fuzz_put_file(dir, "d/changed", 20000, 0);
    fuzz_put_file(dir, "gone/file", 10, 0);
    close(dir);
}

static void set_options(ps_opts *o, const u8 *head) {
    o->role = PS_ROLE_RECEIVER;
    o->protocol = 32;
    o->inc_recurse = head[0] & 1;
    o->swarm = head[0] >> 1 & 1;
    o->delete_mode = head[0] >> 2 & 7;
    if (o->delete_mode > PS_DELETE_AFTER) o->delete_mode = PS_DELETE_NONE;
    o->partial = head[0] >> 5 & 1;
    o->delay_updates = head[0] >> 6 & 1;
    o->dry_run = head[0] >> 7 & 1;
    o->compress = (head[1] & 7) % 5;
    o->hard_links = head[1] >> 3 & 1;
    o->itemize = o->verbose = head[1] >> 4 & 1;
    o->backup = head[1] >> 5 & 1;
    o->protocol -= (head[1] >> 6) % 3;
    if (head[3]) o->protocol = 27 + (head[3] - 1) % 3;
    if (head[3]) o->inc_recurse = o->swarm = 0;
    o->safe_flist = o->proper_seed_order = o->receiver_symlink_times = 1;
    o->varint_flist_flags = o->id0_names = o->protocol > 30;
    o->recurse = o->links = o->perms = o->times = o->specials = o->implied_dirs = 1;
    o->xfer_sum = o->file_sum = head[3] ? PS_SUM_MD4_SEEDED : PS_SUM_XXH128;
    o->compress_level = INT32_MIN;
    o->max_size = o->min_size = o->max_delete = o->super = o->whole_file = -1;
}

/* Until it wants input: true. The swarm's requests are answered by nobody: what it announces is given up. */
static bool work(ps_ctx *c, ps_receiving *p) {
    struct ps_swarm *swarm = NULL;
    for (int i = 0; i < 3000; i++) {
        int status = ps_receiving_step(p);
        if (c->o.swarm && !swarm) swarm = ps_receiving_swarm(p);
        if (swarm && (ps_swarm_ask(swarm, status == PS_AGAIN) == PS_FAIL || ps_swarm_step(swarm, status == PS_AGAIN) == PS_FAIL)) return false;
        u32 count;
        const ps_event *events = ps_ctx_events(c, &count);
        for (u32 e = 0; e < count && swarm; e++) {
            if (events[e].kind == PS_EV_SWARM_BUNDLE) ps_swarm_give_up_bundle(swarm, (u32)events[e].a, false);
            if (events[e].kind == PS_EV_SWARM_RUN) ps_swarm_give_up_job(swarm, (u32)events[e].a, true);
        }
        fuzz_drain(c);
        size_t n;
        ps_receiving_out(p, &n);
        ps_receiving_sent(p, n);
        if (status == PS_AGAIN) return true;
        if (status == PS_DONE || status == PS_FAIL) return false;
    }
    return false;
}

/* As a daemon's `exclude = gone small1`. */
static ps_rules *hiding_rules(ps_ctx *c) {
    static const char text[] = "gonesmall1";
    ps_rule_op ops[2] = {{.text_off = 0, .text_len = 4}, {.text_off = 4, .text_len = 6}};
    ps_rules *rules = ps_rules_new(c);
    if (!rules || ps_rules_put(rules, PS_RULES_DAEMON, ops, 2, (const uint8_t *)text, sizeof text - 1) != PS_OK) abort();
    return rules;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char top[64];
    static const char *path;
    if (!path) path = make_old(top);
    renew(path);
    u8 head[5];
    fuzz_take(&data, &size, head, sizeof head);
    ps_ctx *c = ps_ctx_new();
    set_options(ps_ctx_opts(c), head);
    if (c->o.backup) ps_ctx_set_string(c, PS_STR_BACKUP_SUFFIX, "~", 1);
    if (head[0] & 64) ps_ctx_set_string(c, PS_STR_PARTIAL_DIR, ".~tmp~", 6);
    bool daemon = head[4] & 2;
    c->o.am_server = (head[4] & 3) != 0;
    c->o.am_daemon = daemon;
    ps_rules *rules = head[4] & 4 ? hiding_rules(c) : NULL;
    ps_root *module = daemon ? ps_root_open(c, top, false) : NULL;
    ps_receiving *p = ps_receiving_new(c, rules, daemon ? "dest" : path, daemon ? 4 : strlen(path));
    if (!p) abort();
    if (daemon) ps_receiving_confine(p, module);
    if (!c->o.am_server) ps_flist_decoder_imply(ps_receiving_decoder(p), "./", 2, false);
    size_t step = head[2] ? head[2] : size + 1;
    bool goes_on = work(c, p);
    while (size && goes_on) {
        size_t n = size < step ? size : step;
        int status = ps_receiving_feed_from(p, data, n);
        for (int i = 0; status == PS_FULL && i < 3000; i++) {
            fuzz_drain(c);
            status = ps_receiving_feed_from(p, data, 0);
        }
        data += n;
        size -= n;
        goes_on = status != PS_FAIL && work(c, p);
    }
    ps_receiving_abort(p, 20);
    ps_receiving_free(p);
    if (module) ps_root_free(module);
    if (rules) ps_rules_free(rules);
    ps_ctx_free(c);
    return 0;
}
