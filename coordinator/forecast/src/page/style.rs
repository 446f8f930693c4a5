//! The look of a page, light and dark. No font or picture comes from outside.

pub(super) const PAGE_STYLE: &str = "\
:root{color-scheme:light dark;--ground:#fff;--ink:#1f2328;--soft:#59636e;--line:#d9dee3;--card:#f6f8fa;--good:#1a7f37;--bad:#cf222e;--mark:#ddf4e4}\
@media (prefers-color-scheme:dark){:root{--ground:#0d1117;--ink:#e6edf3;--soft:#9198a1;--line:#2b323b;--card:#151b23;--good:#3fb950;--bad:#ff7b72;--mark:#12331e}}\
*{box-sizing:border-box}\
body{margin:0;background:var(--ground);color:var(--ink);font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif}\
main{max-width:1180px;margin:0 auto;padding:32px 24px 64px}\
h1{font-size:28px;line-height:1.2;margin:0 0 4px}h2{font-size:20px;margin:44px 0 12px;padding-bottom:6px;border-bottom:1px solid var(--line)}\
.subtitle{color:var(--soft);margin:0 0 20px}\
.verdict{border-left:5px solid var(--soft);background:var(--card);padding:12px 16px;margin:0 0 20px;font-size:17px;border-radius:0 6px 6px 0}\
.verdict.good{border-color:var(--good)}.verdict.bad{border-color:var(--bad)}\
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(168px,1fr));gap:12px;margin:0}\
.fact{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:12px 14px}\
.fact dt{color:var(--soft);font-size:13px}.fact dd{margin:0}.fact .value{font-size:23px;font-weight:600;line-height:1.3;font-variant-numeric:tabular-nums}\
.fact .note{color:var(--soft);font-size:12.5px;line-height:1.35}\
.wide{overflow-x:auto;margin:0 0 14px}\
figure{margin:0 0 18px;overflow-x:auto}.picture{display:block;width:100%;min-width:720px;height:auto}\
table{border-collapse:collapse;font-size:13.5px;font-variant-numeric:tabular-nums}\
th,td{text-align:left;padding:5px 14px 5px 0;border-bottom:1px solid var(--line);vertical-align:top;white-space:nowrap}\
td.long{white-space:normal;min-width:26em}th{color:var(--soft);font-weight:600}th.number,td.number{text-align:right}\
tr.marked td{background:var(--mark)}tr td:first-child,tr th:first-child{padding-left:8px}\
pre{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:12px 14px;overflow-x:auto;font-size:13px;line-height:1.45}\
li{margin:3px 0}footer{margin-top:48px;color:var(--soft);font-size:13px}\
@media print{main{max-width:none;padding:0}h2{break-after:avoid}figure,table{break-inside:avoid}}";
