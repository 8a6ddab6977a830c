package linstor

import (
	"encoding/json"
	"fmt"
	"net/http"

	api "github.com/LINBIT/golinstor"
)

type object = map[string]any

// failure is an error that the controller answers with.
type failure struct {
	status  int
	code    uint64
	message string
	reports []string
}

const (
	codeUnknown  = uint64(api.FailUnknownError)
	codeInUse    = uint64(api.FailInUse)
	codeOffline  = uint64(api.FailNotConnected)
	codeNoNodes  = uint64(api.FailNotEnoughNodes)
	codeBadProp  = uint64(api.FailInvldProp)
	codeBadName  = uint64(api.FailInvldRscName)
	codeBadSize  = uint64(api.FailInvldVlmSize)
	codeRequest  = uint64(api.FailInvldRequest)
	codeDefThere = uint64(api.FailExistsRscDfn)
	codeVolThere = uint64(api.FailExistsVlmDfn)
	codeNoDef    = uint64(api.FailNotFoundRscDfn)
	codeNoVolume = uint64(api.FailNotFoundVlmDfn)
	codeNoRes    = uint64(api.FailNotFoundRsc)
	codeNoNode   = uint64(api.FailNotFoundNode)
	codeNoGroup  = uint64(api.FailNotFoundRscGrp)
	codeNoAccess = uint64(api.FailAccDeniedCommand)
)

// failed makes a failure with the status that the controller gives its code.
func failed(code uint64, format string, args ...any) *failure {
	f := &failure{code: code, message: fmt.Sprintf(format, args...), status: http.StatusInternalServerError}
	switch n := code & api.MaskBitsCode; {
	case n >= 200 && n < 300:
		f.status = http.StatusBadRequest
	case n >= 300 && n < 400:
		f.status = http.StatusNotFound
	case n >= 400 && n < 500:
		f.status = http.StatusUnauthorized
	default:
		f.reports = []string{"67A1B2C3-00000-000042"}
	}
	return f
}

func (f *failure) answer() answer {
	rc := object{"ret_code": int64(f.code), "message": f.message}
	if len(f.reports) > 0 {
		rc["error_report_ids"] = f.reports
	}
	return jsonAnswer(f.status, []object{rc})
}

// done is the answer to a change.
func done(status int, format string, args ...any) answer {
	const success = 1 // any code without an error bit
	return jsonAnswer(status, []object{{"ret_code": success, "message": fmt.Sprintf(format, args...)}})
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

func jsonAnswer(status int, body any) answer {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err) // only our own maps come here
	}
	return answer{status: status, header: http.Header{"Content-Type": {"application/json"}}, body: text}
}
