/* The parts of formatted lines that are the same everywhere: numbers, permissions, times, itemized changes, checksums. */
#include "render/render_inner.h"

#include <stdio.h>
#include <time.h>

size_t big_num(i64 n, int human, char out[40]) {
    i64 unit = human == 2 ? 1000 : 1024;
    if (human > 1 && (n >= unit || n <= -unit)) {
        double v = (double)n / (double)unit;
        int power = 0;
        for (; power < 4 && (v >= (double)unit || v <= -(double)unit); power++) v /= (double)unit;
        return (size_t)snprintf(out, 40, "%.2f%c", v, "KMGTP"[power]);
    }
    char digits[32];
    u64 magnitude = n < 0 ? 0 - (u64)n : (u64)n;
    size_t count = 0, at = 0;
    do digits[count++] = (char)('0' + magnitude % 10);
    while (magnitude /= 10);
    if (n < 0) out[at++] = '-';
    while (count--) {
        out[at++] = digits[count];
        if (human && count && count % 3 == 0) out[at++] = ',';
    }
    out[at] = 0;
    return at;
}

void time_string(i64 t, char out[20]) {
    time_t when = (time_t)t;
    struct tm tm;
    if (!localtime_r(&when, &tm)) {
        memcpy(out, "(time out of range)", 20);
        return;
    }
    int n = snprintf(out, 20, "%4d/%02d/%02d %02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
                     tm.tm_sec);
    if (n < 0) out[0] = 0;
}

static char letter_if(u32 iflags, u32 flag, char letter) { return iflags & flag ? letter : '.'; }

static char time_letter(const ps_opts *o, u32 mode, u32 iflags) {
    if (!(iflags & PS_ITEM_REPORT_TIME)) return '.';
    if (!o->times) return 'T';
    /* TIMEFAIL has SIZE's bit: a symlink's time cannot be set, or was not */
    return S_ISLNK(mode) && (!o->receiver_symlink_times || iflags & PS_ITEM_REPORT_TIMEFAIL) ? 'T' : 't';
}

static char atime_letter(u32 iflags) {
    switch (iflags & (PS_ITEM_REPORT_ATIME | PS_ITEM_REPORT_CRTIME)) {
    case 0: return '.';
    case PS_ITEM_REPORT_ATIME: return 'u';
    case PS_ITEM_REPORT_CRTIME: return 'n';
    default: return 'b';
    }
}

void itemize_string(const ps_opts *o, u32 mode, u32 iflags, char out[12]) {
    if (iflags & PS_ITEM_DELETED) {
        memcpy(out, "*deleting  ", 12);
        return;
    }
    if (iflags & PS_ITEM_LOCAL_CHANGE)
        out[0] = iflags & PS_ITEM_XNAME_FOLLOWS ? 'h' : 'c';
    else
        out[0] = !(iflags & PS_ITEM_TRANSFER) ? '.' : o->role == PS_ROLE_SENDER && !o->local ? '<' : '>';
    out[1] = S_ISLNK(mode)                        ? 'L'
             : S_ISDIR(mode)                      ? 'd'
             : S_ISSOCK(mode) || S_ISFIFO(mode)   ? 'S'
             : S_ISBLK(mode) || S_ISCHR(mode)     ? 'D'
                                                  : 'f';
    out[2] = letter_if(iflags, PS_ITEM_REPORT_CHANGE, 'c');
    out[3] = S_ISLNK(mode) ? '.' : letter_if(iflags, PS_ITEM_REPORT_SIZE, 's');
    out[4] = time_letter(o, mode, iflags);
    out[5] = letter_if(iflags, PS_ITEM_REPORT_PERMS, 'p');
    out[6] = letter_if(iflags, PS_ITEM_REPORT_OWNER, 'o');
    out[7] = letter_if(iflags, PS_ITEM_REPORT_GROUP, 'g');
    out[8] = atime_letter(iflags);
    out[9] = letter_if(iflags, PS_ITEM_REPORT_ACL, 'a');
    out[10] = letter_if(iflags, PS_ITEM_REPORT_XATTR, 'x');
    out[11] = 0;
    if (iflags & (PS_ITEM_IS_NEW | PS_ITEM_MISSING_DATA))
        memset(out + 2, iflags & PS_ITEM_IS_NEW ? '+' : '?', 9);
    else if ((out[0] == '.' || out[0] == 'h' || out[0] == 'c') && memcmp(out + 2, ".........", 9) == 0)
        memset(out + 2, ' ', 9);
}

/* Bytes of a checksum kind; 0: no kind. */
static size_t sum_bytes(int kind) {
    switch (kind) {
    case PS_SUM_MD4:
    case PS_SUM_MD5:
    case PS_SUM_XXH128: return 16;
    case PS_SUM_SHA1: return 20;
    case PS_SUM_XXH64:
    case PS_SUM_XXH3: return 8;
    case PS_SUM_NONE: return 1;
    default: return 0;
    }
}

size_t sum_hex_length(int kind) { return 2 * sum_bytes(kind); }

size_t sum_hex(int kind, const u8 *sum, char *out) {
    size_t n = sum_bytes(kind);
    if (!n || kind == PS_SUM_NONE) return 0;
    bool reversed = kind == PS_SUM_XXH64 || kind == PS_SUM_XXH3 || kind == PS_SUM_XXH128; /* shown as numbers, sent low byte first */
    for (size_t i = 0; i < n; i++) {
        u8 b = sum[reversed ? n - 1 - i : i];
        out[2 * i] = "0123456789abcdef"[b >> 4];
        out[2 * i + 1] = "0123456789abcdef"[b & 15];
    }
    return 2 * n;
}

size_t ps_big_num(int64_t n, int human, char *out) { return big_num(n, human, out); }
