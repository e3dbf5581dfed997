/* Rules and names: whatever the pattern, an answer, in bounded time. Head: what is tried; then rules as flags and text, each
 * ended by a newline, and after an empty line the names. */
#include "fuzz_tools.h"
#include "api/rules_api.h"

#define MOST 32

static const char *line_end(const char *at, const char *end) {
    const char *found = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
    return found ? found : end;
}

static void patterns(const char *text, size_t size) {
    const char *end = text + size, *cut = line_end(text, end);
    if (cut - text > 200 || end - cut > 2000) return;
    ps_wildmatch(text, (size_t)(cut - text), cut < end ? cut + 1 : cut, cut < end ? (size_t)(end - cut - 1) : 0, size & 1);
}

static void rules(const char *text, size_t size, int list, bool trusts) {
    ps_ctx *c = ps_ctx_new();
    ps_rules *r = ps_rules_new(c);
    ps_rule_op ops[MOST];
    u32 count = 0;
    const char *end = text + size, *at = text;
    for (; at < end && *at != '\n' && count < MOST; count++) {
        const char *stop = line_end(at, end);
        u32 flags = 0;
        for (int i = 0; i < 3 && at < stop; i++) flags |= (u32)(u8)*at++ << 8 * i;
        ops[count] = (ps_rule_op){flags & 0xfffff & ~(u32)PS_RULE_CVS, (u32)(at - text), (u32)(stop - at)};
        at = stop < end ? stop + 1 : stop;
    }
    if (trusts) ps_rules_trust_sender(r);
    if (ps_rules_put(r, list, ops, count, (const u8 *)text, size) == PS_OK && ps_rules_set_base(r, "/base/of", 8) == PS_OK) {
        while (at < end) {
            const char *stop = line_end(at, end);
            size_t n = (size_t)(stop - at);
            char name[1024];
            if (n && n < sizeof name && !memchr(at, 0, n)) {
                memcpy(name, at, n);
                name[n] = 0;
                ps_rules_check(r, name, n, n & 1, 1 + (n & 1));
                ps_rules_check_daemon(r, name, n, n & 1);
                ps_rules_path_excluded(r, name, n, n & 1);
            }
            at = stop < end ? stop + 1 : stop;
        }
        int8_t answers[MOST];
        ps_rules_check_many(r, text, size, 1, answers, MOST);
    }
    ps_rules_free(r);
    ps_ctx_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    u8 kind;
    fuzz_take(&data, &size, &kind, 1);
    if (size > 4000) return 0;
    if (kind % 4 == 3) patterns((const char *)data, size);
    else rules((const char *)data, size, kind % 4 == 1 ? PS_RULES_DAEMON : PS_RULES_MAIN, kind >> 2 & 1);
    return 0;
}
