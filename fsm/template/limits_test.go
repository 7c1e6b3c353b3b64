package template

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestEachLimitCutsOff lets each limit cut off a template, with its line.
func TestEachLimitCutsOff(t *testing.T) {
	for name, c := range map[string]struct {
		src    string
		limits Limits
	}{
		"output":              {"\n<#list 1..100 as x>\n0123456789\n</#list>", Limits{Output: 100}},
		"steps":               {"\n<#list 1..2000000000 as x>\n<#assign y = x></#list>", Limits{Steps: 1000}},
		"steps, the default":  {"\n<#list 1..2000000000 as x></#list>", Limits{}},
		"calls":               {"\n<#macro m><@m/></#macro><@m/>", Limits{Calls: 20}},
		"function":            {"\n<#function f x><#return f(x + 1)></#function>${f(1)}", Limits{}},
		"interpreted":         {"<#assign t = r'<@t?interpret/>'>\n<@t?interpret/>", Limits{}},
		"evaluated":           {"<#assign t = 't?eval'>\n${t?eval}", Limits{}},
		"padding":             {"\n${''?left_pad(2000000000)}", Limits{}},
		"work":                {"\n<#list 1..1000 as x><#assign s = ''?right_pad(1000)></#list>", Limits{Work: 10_000}},
		"replace":             {"\n${''?left_pad(100000)?replace(' ', ''?left_pad(100000))}", Limits{}},
		"doubling":            {"<#assign s = 'x'>\n<#list 1..100 as x><#assign s = s + s></#list>", Limits{}},
		"numbers":             {"<#assign n = 10>\n<#list 1..100 as x><#assign n = n * n></#list>", Limits{}},
		"captured":            {"\n<#assign s><#list 1..2000000 as x>0123456789</#list></#assign>", Limits{}},
		"list":                {"\n${(1..2000000)?join(',')}", Limits{}},
		"above the default":   {"\n<#macro m><@m/></#macro><@m/>", Limits{Calls: 1 << 40}},
		"a large expression":  {"\n${''?left_pad(8000000, 'a')?matches('(a|b|c|d){300}e')?c}", Limits{}},
		"many expressions":    {"\n<#list 1..2000000000 as x>${'aaaaaaaaaaaaaaaaaa'?matches('(a*)*(b|c)*[^x]+y?')?c}</#list>", Limits{}},
		"evaluated often":     {"\n<#list 1..2000000000 as x>${'1'?eval}</#list>", Limits{}},
		"regular expressions": {"\n${''?left_pad(30000, 'a')?matches('(a*)*b')?c}<#list 1..2000000000 as x></#list>", Limits{}},
	} {
		tmpl, err := Parse(name, c.src, Options{Limits: c.limits})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		text, err := tmpl.Render(context.Background(), nil)
		var e *Error
		if !errors.As(err, &e) || e.Kind != Limit || e.Line < 2 || text != "" {
			t.Errorf("%s: got %q, %v", name, text, err)
		}
	}
}

// TestTimeLimit waits for nothing: the deadline has passed when the rendering looks.
func TestTimeLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tmpl, err := Parse("t", "\n<#list 1..2000000000 as x></#list>", Options{Limits: Limits{Time: time.Nanosecond}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Nanosecond)
		defer cancel()
		<-ctx.Done()
		_, err = tmpl.Render(ctx, nil)
		var e *Error
		if !errors.As(err, &e) || e.Kind != Limit || e.Line != 2 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if got := (Limits{}).within(); got.Time != MaxTime || got.Steps != MaxSteps {
			t.Errorf("the defaults: %+v", got)
		}
		if got := (Limits{Time: time.Second, Steps: 5}).within(); got.Time != time.Second || got.Steps != 5 {
			t.Errorf("smaller ones: %+v", got)
		}
	})
}
